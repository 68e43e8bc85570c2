"""BSS Eval v4 of separated songs, many songs at a time, into museval's JSON files.

Songs are scored in parallel, by :func:`.bss_eval.bss_eval` or by museval itself, and a stem silent
throughout, which museval refuses, has NaN frames.
"""

from __future__ import annotations

import contextlib
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
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from ..data import cores, stem_file
from ..errors import UsageError
from ..files import file_names
from ._museval import load_museval
from ._samples import FileSamples, blocks
from .aggregation import METRICS, is_scored, write_scores
from .bss_eval import bss_eval

logger = logging.getLogger(__name__)

SCORERS = ("asteroid_upsamplers", "museval")
"""Who may score: :func:`.bss_eval.bss_eval`, or museval, which takes many times as long."""


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
    metrics: Sequence[str] = METRICS,
    scorer: str = SCORERS[0],
    threads: int = 1,
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
        metrics: All four, or ``["SDR"]``, which takes milliseconds; the others are NaN then.
        scorer: One of :data:`SCORERS`.
        threads: How many cores to use.

    Returns:
        museval's store (``.scores``, ``.json``, ``.df``): SDR, ISR, SIR, SAR per frame in dB. Its
        JSON says more than museval's only where ISR, SIR and SAR say nothing of the estimates
        (``"reliable": false``, see :class:`.bss_eval.Scores`), and of SDR alone (``"metrics"``).

    Raises:
        UsageError: A wrong setting; a file that is missing, unreadable, or has NaN or infinite
            samples; a file of another sample rate, number of channels or length.
    """
    folder = Path(references)
    job = ScoringJob(folder.name, folder, Path(estimates), sources)
    check_choices(metrics, scorer)
    store, silent = _score(job, metrics, scorer, threads, win, hop)
    _warn_of_silence(job, silent)
    return store


def score_songs(
    jobs: Sequence[ScoringJob],
    *,
    workers: int | None = None,
    progress: bool = True,
    force: bool = False,
    metrics: Sequence[str] = METRICS,
    scorer: str = SCORERS[0],
) -> list[Path]:
    """Score songs in parallel processes and write museval's JSON files.

    A file that already holds such scores of a job's sources is kept, so that an interrupted run
    goes on where it was. A worker needs about 1 GB of memory, however long the song is (museval
    several times as much, and more for each minute). A script that calls this needs
    ``if __name__ == "__main__":``.

    Args:
        jobs: The songs; the largest is scored first.
        workers: Number of processes; by default one a core, but not more than songs.
        progress: Whether to show a progress bar.
        force: Whether to score again what is already scored.
        metrics: As for :func:`score_song`.
        scorer: As for :func:`score_song`; files do not say who made them.

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
    check_choices(metrics, scorer)
    done = [is_scored(job.json_path, job.sources, metrics) for job in jobs]
    todo = [job for job, is_done in zip(jobs, done, strict=True) if force or not is_done]
    todo.sort(key=lambda job: _bytes_in(job.references), reverse=True)
    allowed = workers or cores()
    workers = max(1, min(allowed, len(todo)))
    how = metrics, scorer, allowed // workers
    failed: dict[Path, str] = {}
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="song", disable=not progress)
    with bar, _pool(workers) as pool:
        with _interrupts_blocked():  # the workers start here, and inherit it
            futures = {pool.submit(_score, job, *how): job for job in todo}
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


def check_choices(metrics: Sequence[str], scorer: str) -> None:
    """Refuse metrics and scorers that there are not.

    Raises:
        UsageError: Naming those that there are.
    """
    if set(metrics) not in ({"SDR"}, set(METRICS)):
        raise UsageError(f"metrics are {', '.join(metrics)}, must be SDR or {', '.join(METRICS)}")
    if scorer not in SCORERS:
        raise UsageError(f"scorer is {scorer!r}, must be {' or '.join(SCORERS)}")


def _score(
    job: ScoringJob,
    metrics: Sequence[str],
    scorer: str,
    threads: int,
    win: float = 1.0,
    hop: float = 1.0,
) -> tuple[Any, list[str]]:
    """museval's store of a song, and the stems that were left out as silent."""
    museval = load_museval()
    first = _open(job.files(job.sources[0])[0])
    rate = first.rate
    if not (1 <= win * rate < np.inf and 1 <= hop * rate < np.inf):
        raise UsageError(f"win and hop must be a sample or more, not {win} s and {hop} s")
    window, step = int(win * rate), int(hop * rate)
    pairs = {}
    for source in job.sources:
        pair = [_open(path, first) for path in job.files(source)]
        if all(any(part.sum(axis=1).any() for part in blocks(audio)) for audio in pair):
            pairs[source] = pair
    frames = museval.metrics.Framing(window, step, len(first)).nwin
    scores = dict.fromkeys(job.sources, np.full((len(METRICS), frames), np.nan))
    reliable, sdr_only = True, "SAR" not in metrics
    if len(pairs) >= 2:
        references, estimates = zip(*pairs.values(), strict=True)
        *values, reliable = bss_eval(
            references, estimates, window, step, sdr_only=sdr_only, threads=threads
        )
        if scorer == "museval":
            values = _by_museval(references, estimates, window, step)
        values[1:] = [np.nan * others if sdr_only else others for others in values[1:]]
        scores |= dict(zip(pairs, np.swapaxes(values, 0, 1), strict=True))
    store = museval.TrackStore(job.name, win=win, hop=hop)
    for source, found in scores.items():
        store.add_target(source, dict(zip(METRICS, found.tolist(), strict=True)))
    store.scores |= {"metrics": ["SDR"]} if sdr_only else {} if reliable else {"reliable": False}
    store.validate()
    return store, [source for source in job.sources if source not in pairs]


def _by_museval(references: Any, estimates: Any, window: int, hop: int) -> list[np.ndarray]:
    pair = (np.array([s[:] for s in sources], float) for sources in (references, estimates))
    with np.errstate(divide="ignore", invalid="ignore"):
        return list(load_museval().evaluate(*pair, window, hop))


def _open(path: Path, like: FileSamples | None = None) -> FileSamples:
    """A file, refused unless it fits to another one."""
    if not path.exists():
        raise UsageError(f"{path}: missing; separate again (stage 2)")
    audio = FileSamples(path)
    if like is not None and (audio.rate, *audio.shape) != (like.rate, *like.shape):
        own, other = (f"{file.shape} at {file.rate} Hz" for file in (audio, like))
        raise UsageError(f"{path}: (samples, channels) {own}, but the first reference has {other}")
    return audio


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


def _end_with_parent() -> None:
    """End when the parent does: if it was killed, nobody would send songs any more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
