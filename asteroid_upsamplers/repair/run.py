"""Repair a network from beginning to end: load, repair, judge, describe, and only then write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..probe.run import SECONDS
from ..probe.style import Page
from ..probe.targets import rate_of, usual_shape
from ..registry import nearest_names
from .excerpts import Excerpts, demo_excerpts, read_excerpts
from .judge import Judge
from .repair import METHODS, repair
from .report import RepairReport
from .search import Best, Trial, search
from .sites import survey
from .stored import Target, check_output, load_target, save_repaired, undo_file
from .verdict import SAFE, Verdict

NEED_AUDIO = ("calibrated", "distil")
"""Methods that look at inputs of the network."""

RESERVED = {"method", "order", "layers", "calibration", "example", "in_place", "state", "progress"}
"""Arguments of :func:`repair` and of methods that are given here."""

STATE = ".state"
"""Added to the name of the output: where a method that trains keeps what it goes on from."""


@dataclass(frozen=True)
class RepairResult:
    """What was done, what it is worth, and the same as text; ``written`` is ``None`` without -o."""

    report: RepairReport
    verdict: Verdict
    trials: Sequence[Trial]
    page: Page
    written: Path | None

    @property
    def is_safe(self) -> bool:
        """Whether the verdict is that."""
        return self.verdict.verdict == SAFE

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        tried = [{"layers": t.layers, "order": t.order, **t.verdict.to_dict()} for t in self.trials]
        return {
            "repair": self.report.to_dict(),
            "verdict": self.verdict.to_dict(),
            "tried": tried,
            "written": None if self.written is None else str(self.written),
        }


def run_repair(
    target: str,
    output_file: Path | None = None,
    *,
    method: str = "phases",
    options: dict[str, Any] | None = None,
    order: int | None = None,
    layers: Sequence[str] | None = None,
    audio: Sequence[Path] = (),
    songs: Path | None = None,
    search_best: bool = False,
    force_overwrite: bool = False,
    page: Path | None = None,
    sample_rate: float | None = None,
    input_shape: Sequence[int] | None = None,
    seconds: float | None = None,
    settings: dict[str, Any] | None = None,
    output: str | None = None,
    silence: float | None = None,
    progress: bool = True,
) -> RepairResult:
    """Repair the network of a model file or factory, and measure what that is worth.

    Args:
        target: Asteroid model file, Demucs checkpoint, or ``package.module:factory``.
        output_file: Where to write the repaired network: of a file, an Asteroid model file; of a
            factory, its state dict. Nothing is written if ``None``.
        method: As :func:`repair` takes it.
        options: Further settings of the method.
        order: 0 or 1; 0 if ``None``, and both are tried by a search.
        layers: Names of the layers to repair, or to choose from; all if ``None``.
        audio: Files of inputs: the first half is for the method, the second for the verdict. A demo
            song is rendered if there are none, unless the network takes no such thing.
        songs: Folder of a set in MUSDB18-HQ's layout, whose test songs have true sources.
        search_best: Whether to look for the best layers and order by the verdict.
        force_overwrite: Whether to replace ``output_file``.
        page: Where to write an HTML page; nowhere if ``None``.
        sample_rate, input_shape, seconds, settings, output, silence: As :func:`..probe.run_probe`
            takes them.
        progress: Whether to show progress bars.

    Raises:
        UsageError: For anything that the user can put right, in one line that names the target.
    """
    for name, value in {"seconds": seconds, "sample_rate": sample_rate}.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be a number above 0, not {value}")
    if output_file is not None:
        check_output(output_file, (target, *audio), force_overwrite)
    if page is not None:
        check_output(page, (target, *audio), force=True)
        if output_file is not None and page.resolve() == output_file.resolve():
            raise UsageError(f"{page}: cannot be the page and the repaired network (-o) at once")
    if method in NEED_AUDIO and not audio:
        raise UsageError(f"--method {method} needs audio that the network is to work on (--audio)")
    if method not in METHODS:
        raise UsageError(f"--method {method}: {nearest_names(method, METHODS)}")
    for name in (options or {}).keys() & RESERVED:
        raise UsageError(f"--options: {name!r} has an option of its own, or is not for users")
    loaded = load_target(target, settings)
    network = loaded.network
    rate, remarks = rate_of(network, sample_rate)
    shape = input_shape or usual_shape(network, rate, seconds or SECONDS)
    try:
        sites, heads = survey(network, shape).chosen(layers)
        names = [site.name for site in sites] + [head.name for head in heads]
        judge = Judge(network, rate, shape, output=output, silence=silence, progress=progress)
        excerpts = _excerpts(judge, audio)
        judge.listen(excerpts.held_out if excerpts else (), songs)
        how = {"method": method, "example": shape, **(options or {})}
        if excerpts and (method in NEED_AUDIO or (method == "notch" and audio)):
            how["calibration"] = [excerpt.input for excerpt in excerpts.calibration]
        if method == "distil":
            how |= {"progress": progress}
            how |= {"state": f"{output_file}{STATE}"} if output_file and not search_best else {}
        repaired = partial(repair, network, **how)
        if search_best:
            orders = (0, 1) if order is None else (order,)
            best, trials = search(judge, names, repaired, orders)
        else:
            report = repaired(order=order or 0, layers=layers)
            heard, trials = judge.hear(report.network), []
            best = Best(report, judge.compare(heard), heard)
    except UsageError as error:
        known = str(error).startswith((f"{target}: ", *(str(p) for p in (*audio, songs) if p)))
        raise (error if known else UsageError(f"{target}: {error}")) from error.__cause__
    if loaded.package is None and best.report.replaced:
        remarks.append("layers were replaced: load the state dict into a network swapped alike")
    best.verdict.remarks[:0] = remarks
    from .page import describe, write_page  # with pictures, which need more

    files = "the second half of " + (", ".join(map(str, audio)) if audio else "a demo song")
    words = describe(target, best.report, best.verdict, trials, files if excerpts else "none")
    if page is not None:
        write_page(page, words, judge, best.heard)
    if output_file is not None:
        _save(output_file, loaded, best)
        if "state" in how:
            Path(how["state"]).unlink(missing_ok=True)
    return RepairResult(best.report, best.verdict, trials, words, output_file)


def run_undo(target: str, output_file: Path | None, force_overwrite: bool = False) -> Path:
    """Write the network that a repaired file was made of.

    Raises:
        UsageError: If the file holds no record of a repair, or the output must not be written.
    """
    if output_file is None:
        raise UsageError("--undo needs a file to write the original to (-o)")
    check_output(output_file, (target,), force_overwrite)
    undo_file(target, output_file)
    return output_file


def _excerpts(judge: Judge, audio: Sequence[Path]) -> Excerpts | None:
    if audio:
        return read_excerpts(audio, judge.feed, judge.input_rate)
    return demo_excerpts(judge.feed, judge.input_rate)


def _save(path: Path, loaded: Target, best: Best) -> None:
    about = {"verdict": best.verdict.verdict, **best.report.to_dict()}
    save_repaired(path, loaded, loaded.network.state_dict(), best.report.network, about)
