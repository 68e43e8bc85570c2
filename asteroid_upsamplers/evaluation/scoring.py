"""BSS Eval v4 of separated songs by museval, many songs at a time.

museval 0.4.1 needs 0.5 s of CPU time for a second of four-stem stereo song and takes songs singly.
Here they are scored in parallel, and a stem silent throughout, which it refuses, has NaN frames.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from ..audio import read_wav
from ..data import cores, stem_file
from ..errors import UsageError
from ..files import file_names
from ._museval import load_museval
from .aggregation import METRICS, is_scored, write_scores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoringJob:
    """One song to score.

    Args:
        name: Of the song, in messages and in the scores.
        references: Folder with the true sources, ``<source>.wav`` or ``.flac``.
        estimates: Folder with the separated ``<source>.wav``, or one file that stands for every
            source, as the mixture does for the baseline.
        sources: Names of two or more stems, in the order of the scores.
        json_path: Where the scores go; gzipped if it ends in ``.gz``.

    Raises:
        UsageError: If there are less than two sources, or one twice.
    """

    name: str
    references: Path
    estimates: Path
    sources: Sequence[str]
    json_path: Path = Path()

    def __post_init__(self) -> None:
        if len(file_names("sources", self.sources)) < 2:
            raise UsageError(f"sources are {self.sources!r}, must be two or more different stems")

    def files(self, source: str) -> tuple[Path, Path]:
        """The reference and the estimate of a source."""
        one_for_all = self.estimates.is_file()
        estimate = self.estimates if one_for_all else self.estimates / f"{source}.wav"
        return stem_file(self.references, source), estimate


def score_song(
    references: str | os.PathLike,
    estimates: str | os.PathLike,
    sources: Sequence[str],
    *,
    win: float = 1.0,
    hop: float = 1.0,
) -> Any:
    """Score one song as ``museval.eval_mus_track`` does (BSS Eval v4), silence allowed.

    A stem whose reference or estimate is silent throughout (left + right = 0, museval's own rule)
    has NaN frames and a warning is logged; the others are scored among themselves, or, where fewer
    than two remain, are NaN too. A song shorter than one window has one frame, the whole song.
    ``accompaniment`` is a stem like any other.

    Args:
        references: Folder with the true ``<source>.wav``.
        estimates: Folder with the separated ones, or one file that stands for every source.
        sources: Names of two or more stems, in the order of the result.
        win: Window in s, at least a sample.
        hop: Hop in s, at least a sample.

    Returns:
        museval's store (``.scores``, ``.json``, ``.df``): SDR, ISR, SIR, SAR per frame in dB.

    Raises:
        UsageError: A wrong setting; a file that is missing, unreadable, or has NaN or infinite
            samples; a file of another sample rate, number of channels or length.
    """
    folder = Path(references)
    job = ScoringJob(folder.name, folder, Path(estimates), sources)
    store, silent = _score(job, win, hop)
    _warn_of_silence(job, silent)
    return store


def score_songs(
    jobs: Sequence[ScoringJob],
    *,
    workers: int | None = None,
    progress: bool = True,
    force: bool = False,
) -> list[Path]:
    """Score songs in parallel processes, one BLAS thread each, and write museval's JSON files.

    A file that already holds scores of a job's sources is kept, so that an interrupted run goes on
    where it was. A worker needs about 1 GB of memory and 1.5 GB more per minute of four-stem
    stereo song at 44.1 kHz. A script that calls this needs ``if __name__ == "__main__":``.

    Args:
        jobs: The songs; the largest is scored first.
        workers: Number of processes; by default one a core, but not more than songs.
        progress: Whether to show a progress bar.
        force: Whether to score again what is already scored.

    Returns:
        The JSON paths in the order of ``jobs``.

    Raises:
        UsageError: A wrong setting; a worker that was killed; or, after all other songs are
            scored, which songs could not be and why (see :func:`score_song`), in one line.
    """
    paths = [job.json_path for job in jobs]
    if len(set(paths)) < len(paths):
        raise UsageError("two songs have the same json_path")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}, must be at least 1")
    todo = [job for job in jobs if force or not is_scored(job.json_path, job.sources)]
    todo.sort(key=lambda job: _bytes_in(job.references), reverse=True)
    workers = max(1, min(workers or cores(), len(todo)))
    failed: dict[Path, str] = {}
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="song", disable=not progress)
    with bar, _pool(workers) as pool:
        with _interrupts_blocked():  # the workers start here, and inherit it
            futures = {pool.submit(_score, job): job for job in todo}
        for future in as_completed(futures):
            job = futures[future]
            try:
                store, silent = future.result()
                _warn_of_silence(job, silent)
                write_scores(store, job.json_path)
            except UsageError as error:
                failed[job.json_path] = f"{job.name}: {error}"
            except BrokenProcessPool as error:
                raise UsageError("a worker died (no memory left?): use fewer workers") from error
            bar.update()
    if failed:
        raise UsageError("; ".join(failed[path] for path in paths if path in failed))
    return paths


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*"))


def _score(job: ScoringJob, win: float = 1.0, hop: float = 1.0) -> tuple[Any, list[str]]:
    """museval's store of a song, and the stems that were left out as silent."""
    museval = load_museval()
    first, rate = _read(job.files(job.sources[0])[0])
    if not (1 <= win * rate < np.inf and 1 <= hop * rate < np.inf):
        raise UsageError(f"win and hop must be a sample or more, not {win} s and {hop} s")
    window, step = int(win * rate), int(hop * rate)
    pairs = {}
    for source in job.sources:
        pair = [_read(path, first, rate)[0] for path in job.files(source)]
        if all(audio.sum(axis=1).any() for audio in pair):
            pairs[source] = pair
    frames = museval.metrics.Framing(window, step, len(first)).nwin
    scores = dict.fromkeys(job.sources, np.full((len(METRICS), frames), np.nan))
    if len(pairs) >= 2:
        references, estimates = zip(*pairs.values(), strict=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.array(museval.evaluate(references, estimates, window, step))
        scores |= dict(zip(pairs, found.swapaxes(0, 1), strict=True))
    store = museval.TrackStore(job.name, win=win, hop=hop)
    for source, values in scores.items():
        store.add_target(source, dict(zip(METRICS, values.tolist(), strict=True)))
    store.validate()
    return store, [source for source in job.sources if source not in pairs]


def _read(path: Path, like: np.ndarray | None = None, rate: int = 0) -> tuple[np.ndarray, int]:
    """Samples ``(time, channels)``, refused unless they fit to others, and their rate in Hz."""
    audio = read_wav(path).T.double().numpy()
    own_rate = soundfile.info(path).samplerate
    if like is not None and (own_rate, *audio.shape) != (rate, *like.shape):
        own, other = f"{audio.shape} at {own_rate} Hz", f"{like.shape} at {rate} Hz"
        raise UsageError(f"{path}: (samples, channels) {own}, but the first reference has {other}")
    return audio, own_rate


def _warn_of_silence(job: ScoringJob, silent: Sequence[str]) -> None:
    if silent:
        none = len(job.sources) - len(silent) < 2
        rest = "no frame has a score" if none else "the others are scored"
        logger.warning("%s: silent over the whole song: %s; %s", job.name, ", ".join(silent), rest)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which end at once where the block ends with an exception."""
    others = set(active_children())
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: workers leave it to this one (on POSIX)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load_museval()
    threadpool_limits(1)
    # Let glibc keep museval's large arrays for the next ones instead of asking the system for new
    # memory: 15.8 s instead of 20.7 s of CPU time for a song of 25 s.
    if hasattr(ctypes.pythonapi, "mallopt"):
        ctypes.pythonapi.mallopt(-4, 0)  # M_MMAP_MAX
        ctypes.pythonapi.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _end_with_parent() -> None:
    """End when the parent does: if it was killed, nobody would send songs any more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
