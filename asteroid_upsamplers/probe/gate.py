"""A gate for continuous integration: levels that grew against a baseline, or exceed a limit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import UsageError
from ..files import write_json
from .differences import Comparison, compare, floor_of, known, levels_of
from .results import ProbeReport
from .run import ProbeResult, run_probe

FORMAT = 1
"""Of a baseline's file."""

TOLERANCE_DB = 1.0
SHAPE = ("sample_rate", "input_shape", "seconds")
"""Options that a report states itself."""


NO_REPORT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Python raises for JSON that is something else than a report."""


def gated_probe(
    options: dict[str, Any],
    save_baseline: Path | None = None,
    baseline: Path | None = None,
    tolerance: float | None = None,
) -> tuple[ProbeResult, Comparison | None]:
    """:func:`run_probe`, whose report becomes a baseline, or is compared with one.

    Args:
        options: Of :func:`run_probe`.
        save_baseline: File to write, or to replace if it is a baseline.
        baseline: File to compare with.
        tolerance: By how many dB a level may be higher; by default 1.

    Returns:
        What was found, and how it compares; ``None`` without a baseline.

    Raises:
        UsageError: As :func:`run_probe`; if a file is no baseline, or one that was made with
            other settings.
    """
    if save_baseline and baseline:
        raise UsageError("--save-baseline and --baseline exclude each other")
    if tolerance is not None and (baseline is None or not 0 <= tolerance < math.inf):
        raise UsageError(f"--tolerance {tolerance:g}: must be at least 0, and with --baseline")
    before = read_baseline(baseline) if baseline else None
    if save_baseline and (save_baseline.exists() or save_baseline.is_symlink()):
        read_baseline(save_baseline)  # nothing else is replaced
    result = run_probe(**options)
    if not (save_baseline or baseline):
        return result, None
    if not isinstance(result.report, ProbeReport):
        raise UsageError(f"{options['target']}: is a recording: baselines are of networks")
    now = _baseline(result.report, options)
    if save_baseline:
        write_json(save_baseline, now)
        return result, None
    assert before is not None
    _refuse_other_settings(str(baseline), before, now)
    return result, compare(before, now, TOLERANCE_DB if tolerance is None else tolerance)


def read_baseline(path: Path) -> dict[str, Any]:
    """What :func:`gated_probe` wrote.

    Raises:
        UsageError: In one line, if it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["baseline"]["format"] != FORMAT:
            raise UsageError(
                f"{path}: is a baseline of another version ({content['baseline']['version']}): "
                "save a new one"
            )
        levels_of(content), floor_of("noise", content), known(content["unseen_factor"])
        dict(content["baseline"]["options"]), content["sample_rate"], content["input_shape"]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UsageError:
        raise
    except NO_REPORT as error:
        raise UsageError(
            f"{path}: is no baseline, or damaged: --save-baseline writes one"
        ) from error
    return content


def _baseline(report: ProbeReport, options: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in options.items() if k not in ("target", "page", *SHAPE)}
    kept |= {"seed": kept.get("seed") or 0, "settings": kept.get("settings") or {}}
    about = {"format": FORMAT, "version": __version__, "options": kept}
    return json.loads(json.dumps({**report.to_dict(), "baseline": about}))


def _refuse_other_settings(path: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    pairs = [(name, before[name], now[name]) for name in ("sample_rate", "input_shape")]
    was, given = before["baseline"]["options"], now["baseline"]["options"]
    pairs += [(name, was.get(name), given.get(name)) for name in {**was, **given}]
    for name, one, other in pairs:
        if one != other:
            raise UsageError(
                f"{path}: was made with {name} {json.dumps(one)}, this is {json.dumps(other)}: "
                "probe with the same, or save a new baseline"
            )
