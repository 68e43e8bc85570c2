"""BSS Eval v4 of separated songs by museval, many songs at a time.

museval 0.4.1 needs 0.5 s of CPU time for a second of four-stem stereo song and takes songs singly.
Here they are scored in parallel, and a stem silent throughout, which it refuses, has NaN frames.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from ..data import cores
from ..errors import UsageError
from ._museval import load_museval
from .aggregation import METRICS, is_scored, write_scores

logger = logging.getLogger(__name__)

WORKER_ENVIRONMENT = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
) | {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""One BLAS thread from the first import on. The C library (glibc) keeps the memory of museval's
large arrays for the next ones: to get it from the system anew takes a fifth of the time."""


@dataclass(frozen=True)
class ScoringJob:
    """One song: its name in messages, two folders of ``<source>.wav``, and where the JSON goes."""

    name: str
    reference_dir: str | os.PathLike
    estimate_dir: str | os.PathLike
    json_path: str | os.PathLike


def score_song(
    reference_dir, estimate_dir, sources: Sequence[str], *, win: float = 1.0, hop: float = 1.0
) -> Any:
    """Score one song as ``museval.eval_mus_track`` does (BSS Eval v4), silence allowed.

    A stem whose reference or estimate is silent throughout (left + right = 0, museval's own rule)
    has NaN frames and a warning is logged; the others are scored among themselves, or, where fewer
    than two remain, are NaN too. A song shorter than one window has one frame, the whole song.
    ``accompaniment`` is a stem like any other.

    Args:
        reference_dir, estimate_dir: Folders with the true and the separated ``<source>.wav``.
        sources: Names of two or more stems, in the order of the result.
        win, hop: Window and hop in s.

    Returns:
        museval's store (``.scores``, ``.json``, ``.df``): SDR, ISR, SIR, SAR per frame in dB.

    Raises:
        UsageError: A wrong setting; a file that is missing, unreadable, or has NaN or infinite
            samples; a file of another sample rate, number of channels or length.
    """
    _check_sources(sources)
    job = ScoringJob(Path(reference_dir).name, reference_dir, estimate_dir, json_path="")
    scores, silent = _frame_scores(job, sources, win, hop)
    return _track_store(job, sources, scores, silent, win, hop)


def score_songs(
    jobs: Sequence[ScoringJob], sources: Sequence[str], *, workers=None, progress=True, force=False
) -> list[Path]:
    """Score songs in parallel processes, one BLAS thread each, and write museval's JSON files.

    A file that already holds scores of ``sources`` is kept, so that an interrupted run goes on
    where it was. A worker needs about 1 GB of memory and 1.5 GB more per minute of four-stem
    stereo song at 44.1 kHz. A script that calls this needs ``if __name__ == "__main__":``.

    Args:
        jobs: The songs; the largest is scored first. A JSON path in ``.gz`` is gzipped.
        sources: Names of two or more stems, in the order of the JSON.
        workers: Number of processes; by default one per CPU, but not more than songs.
        progress, force: Show a progress bar; score again what is already scored.

    Returns:
        The JSON paths in the order of ``jobs``.

    Raises:
        UsageError: A wrong setting; a worker that was killed; or, after all other songs are
            scored, which songs could not be and why (see :func:`score_song`), in one line.
    """
    paths = [Path(job.json_path) for job in jobs]
    _check_sources(sources)
    if len(set(paths)) < len(paths):
        raise UsageError("two songs have the same json_path")
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be 1 or more, not {workers}")
    to_do = [job for job in jobs if force or not is_scored(job.json_path, sources)]
    files = {job: Path(job.reference_dir).glob("*.wav") for job in to_do}
    to_do.sort(key=lambda job: sum(file.stat().st_size for file in files[job]), reverse=True)
    workers = max(1, min(workers or cores(), len(to_do)))
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(to_do), unit="song", disable=not progress)
    failed: dict[Path, str] = {}
    with bar, _futures(to_do, sources, workers) as futures:
        for future in as_completed(futures):
            job = futures[future]
            try:
                write_scores(_track_store(job, sources, *future.result()), job.json_path)
            except UsageError as error:
                failed[Path(job.json_path)] = f"{job.name}: {error}"
            except BrokenProcessPool as error:
                raise UsageError("a worker died (no memory left?): use fewer workers") from error
            bar.update()
    if failed:
        raise UsageError("; ".join(failed[path] for path in paths if path in failed))
    return paths


def _check_sources(sources: Sequence[str]) -> None:
    if isinstance(sources, str) or not 2 <= len(set(sources)) == len(sources):
        raise UsageError(f"sources must be two or more different stems, not {sources!r}")


def _read_wav(path: Path, rate: int = 0, like: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Read audio (samples, channels) and its rate (Hz); ``like`` is what it must fit to."""
    try:
        with path.open("rb") as file:
            audio, own_rate = soundfile.read(file, dtype="float64", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", error)
        raise UsageError(f"cannot read {path}: {reason}") from error
    if like is not None and (own_rate, *audio.shape) != (rate, *like.shape):
        own, other = f"{audio.shape} at {own_rate} Hz", f"{like.shape} at {rate} Hz"
        raise UsageError(f"{path}: (samples, channels) {own}, but the first reference has {other}")
    if not np.isfinite(audio).all():
        raise UsageError(f"{path} has samples that are NaN or infinite")
    return audio, own_rate


def _frame_scores(job: ScoringJob, sources: Sequence[str], win: float = 1.0, hop: float = 1.0):
    """Give scores in dB, shape (metric, source, frame), and the stems left out as silent."""
    first, rate = _read_wav(Path(job.reference_dir, f"{sources[0]}.wav"))
    if not (1 <= win * rate < np.inf and 1 <= hop * rate < np.inf):
        raise UsageError(f"win and hop must be a sample or more, not {win} s and {hop} s")
    window, step = int(win * rate), int(hop * rate)
    scored = {}
    for i, source in enumerate(sources):
        files = (Path(folder, f"{source}.wav") for folder in (job.reference_dir, job.estimate_dir))
        pair = [_read_wav(file, rate, first)[0] for file in files]
        if all(audio.sum(axis=1).any() for audio in pair):
            scored[i] = pair
    museval = load_museval()
    frames = museval.metrics.Framing(window, step, len(first)).nwin
    scores = np.full((len(METRICS), len(sources), frames), np.nan)
    if len(scored) >= 2:
        pairs = zip(*scored.values(), strict=True)  # references, estimates
        with np.errstate(divide="ignore", invalid="ignore"):
            scores[:, list(scored)] = museval.evaluate(*pairs, window, step)
    return scores, [source for i, source in enumerate(sources) if i not in scored]


def _track_store(
    job: ScoringJob,
    sources: Sequence[str],
    scores: np.ndarray,
    silent: Sequence[str],
    win: float = 1.0,
    hop: float = 1.0,
) -> Any:
    if silent:
        rest = "the others are scored" if len(sources) - len(silent) > 1 else "no frame has a score"
        logger.warning("%s: silent over the whole song: %s; %s", job.name, ", ".join(silent), rest)
    store = load_museval().TrackStore(job.name, win=win, hop=hop)
    for source, values in zip(sources, scores.swapaxes(0, 1).tolist(), strict=True):
        store.add_target(source, dict(zip(METRICS, values, strict=True)))
    store.validate()
    return store


@contextlib.contextmanager
def _futures(jobs, sources, workers: int) -> Iterator[dict[Future, ScoringJob]]:
    """Score in worker processes, and end these at once where the block ends with an exception."""
    others = set(active_children())
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker) as pool:
        try:
            with _inherited_by_workers():  # they start while songs are submitted
                futures = {pool.submit(_frame_scores, job, sources): job for job in jobs}
            yield futures
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _begin_worker() -> None:
    """One BLAS thread; and an end with the parent, even one that could not say that it ended."""
    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the main thread is at work, or waits for songs that nobody will send


@contextlib.contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """Their environment; Ctrl-C blocked (on POSIX), the parent ends them."""
    before = {name: os.environ[name] for name in WORKER_ENVIRONMENT if name in os.environ}
    os.environ.update(WORKER_ENVIRONMENT)
    posix = hasattr(signal, "pthread_sigmask")
    if posix:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        for name in WORKER_ENVIRONMENT:
            del os.environ[name]
        os.environ.update(before)
        if posix:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
