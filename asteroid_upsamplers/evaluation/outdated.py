"""Whether the scores of an experiment are those of the estimates, songs and model that are there.

What is no longer there, such as estimates that were deleted to save disk, is no fault.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data import changed_since, read_notes
from .experiments import ESTIMATES, MODEL, ORIGINS, SCORES, SETTINGS


def outdated_scores(exp_dir: Path) -> list[str]:
    """What is older than what it was made from: a line for each, with what to do.

    Files are read only where their times, sizes or places on the disk are others than those noted.

    Args:
        exp_dir: An experiment, or the folder of the mixture scored as its own estimate.
    """
    origins, made = read_notes(exp_dir / ORIGINS), read_notes(exp_dir / SETTINGS)
    if has_changed(_part(made, "model", MODEL), exp_dir):
        return [f"{exp_dir}: estimates are of another {MODEL}: run stages 2 and 3"]
    by_stage: dict[str, list[str]] = {}
    for path in sorted((exp_dir / SCORES).glob("*.json")) if origins else ():
        song = path.stem
        references, folder = origins.get(f"references of {song}"), exp_dir / ESTIMATES / song
        mixture = _part(made, "songs", song)
        if has_changed(references) or has_changed(mixture):
            by_stage.setdefault("its files in the set: run stages 2 and 3", []).append(song)
        elif _is_gone(references) or _is_gone(mixture):
            by_stage.setdefault("the set, which lacks it: run stages 2 and 3", []).append(song)
        elif has_changed(origins.get(f"estimates of {song}"), folder if made else None):
            by_stage.setdefault("its estimates: run stage 3", []).append(song)
    lines = [
        f"{exp_dir}: scores of {', '.join(songs)} are older than {what}"
        for what, songs in by_stage.items()
    ]
    scored = {path.name.partition(".json")[0] for path in (exp_dir / SCORES).glob("*.json*")}
    there = {path.name for path in (exp_dir / ESTIMATES).glob("[!.]*") if any(path.glob("*.wav"))}
    missing = [song for song in sorted(there - scored) if _is_there(_part(made, "songs", song))]
    if scored and missing:
        lines.append(f"{exp_dir}: estimates of {', '.join(missing)} are not scored: run stage 3")
    return lines


def has_changed(noted: Any, folder: Path | None = None) -> bool:
    """Whether one of some noted files is there and has another content.

    Args:
        noted: By name, as :func:`data.changed_since` notes them; anything else is nothing.
        folder: Where the files are now; where they were if ``None``.
    """
    for name, one in _files(noted).items():
        path = Path(one["path"]) if folder is None else folder / name
        known = {"": {path.name: one | {"path": str(path.resolve())}}}
        if path.is_file() and changed_since(known, {"": [path]})[1]:
            return True
    return False


def _is_there(noted: Any) -> bool:
    """Whether all of some noted files are where they were, or none is noted."""
    return all(Path(one["path"]).is_file() for one in _files(noted).values())


def _is_gone(noted: Any) -> bool:
    """Whether a song was taken out of a set, or renamed, that is otherwise where it was."""
    folders = {Path(one["path"]).parent for one in _files(noted).values()}
    return any(not f.exists() and any(f.parent.glob("[!.]*/")) for f in folders)


def _files(noted: Any) -> dict[str, Any]:
    files = noted.items() if isinstance(noted, dict) else ()
    return {
        name: one
        for name, one in files
        if isinstance(one, dict) and isinstance(one.get("path"), str)
    }


def _part(notes: Any, *keys: str) -> Any:
    for key in keys:
        notes = notes.get(key) if isinstance(notes, dict) else None
    return notes
