"""Stage 4: every trained model once more without its tones, as an experiment of its own.

It lies beside the experiment that it was made of, so that it is separated, scored, measured and
reported like any other: the report shows what the repair costs and what it takes away.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..data import changed_since, read_notes
from ..errors import UsageError
from ..evaluation import load_music_separator, score_experiments, separate_experiments
from ..evaluation.experiments import MODEL, SETTINGS
from ..files import whole_or_nothing, write_json
from ..repair import RepairReport, repair
from ..repair.report import REPAIRED
from ..repair.stored import Target, save_repaired
from ..separation import Chunking
from .models import repaired_folder

logger = logging.getLogger(__name__)

NOTES = "repair.json"
"""How it was repaired, and of which model."""


def repair_experiments(
    exp_dirs: Sequence[Path],
    musdb18_dir: Path,
    wav_dir: Path,
    skip_bad_songs: bool = False,
    **scoring: Any,
) -> list[Path]:
    """Repair the model of each experiment, and separate and score with it as was done without.

    Args:
        exp_dirs: Folders with a trained model.
        musdb18_dir, wav_dir, skip_bad_songs: As stages 2 and 3 take them.
        **scoring: As :func:`..evaluation.score_experiments` takes it.

    Returns:
        The folders of the repaired models; none for a model without tones to take out.

    Raises:
        UsageError: As stages 2 and 3 do.
    """
    folders, to_score = [], []
    skip: Any = {"skip_bad_songs": skip_bad_songs}
    for exp_dir in exp_dirs:
        folder = repaired_folder(exp_dir)
        if not _write_repaired(exp_dir, folder):
            continue
        folders.append(folder)
        settings = read_notes(exp_dir / SETTINGS)
        if settings:  # separated, and perhaps scored
            chunk = settings["chunk"] if settings["chunk"] != "whole song" else math.inf
            chunking = Chunking(chunk, settings["overlap"], settings["shifts"])
            separate_experiments([folder], musdb18_dir, wav_dir, chunking, **skip)
            to_score += [folder] if (exp_dir / "scores").is_dir() else []
    if to_score:
        score_experiments(to_score, musdb18_dir, wav_dir, **skip, **scoring)
    return folders


def _write_repaired(exp_dir: Path, folder: Path) -> bool:
    """Make the folder, unless it is there; false if there is nothing to repair."""
    if not (exp_dir / MODEL).exists():
        raise UsageError(f"{exp_dir}: no experiment here (no {MODEL}); train one first")
    noted = read_notes(folder / NOTES)
    origin, changed = changed_since(noted.get("model"), {MODEL: [exp_dir / MODEL]})
    if not changed and (folder / MODEL).exists():
        return True
    if (folder / MODEL).exists() and "repair" not in _configuration(folder):
        logger.warning(
            "%s: not repaired: %s holds a model that was trained; rename it", exp_dir, folder
        )
        return False
    model = load_music_separator(exp_dir).cpu()
    try:
        report = repair(model)
    except UsageError as error:  # nothing to repair, or it cannot be
        logger.info("%s: not repaired: %s", exp_dir, str(error).partition(": ")[0])
        return False
    modules = dict(model.named_modules())
    repaired = [modules.get(layer.name) for layer in report.layers if layer.status == REPAIRED]
    if all(getattr(module, "tone_free", False) for module in repaired):  # or there are none
        logger.info("%s: not repaired: its layers make no tones of constants", exp_dir)
        return False
    folder.mkdir(exist_ok=True)
    _write_configuration(exp_dir, folder, report)
    target = Target(model, model.serialize())
    save_repaired(folder / MODEL, target, model.state_dict(), report.network, report.to_dict())
    write_json(folder / NOTES, {"model": origin, **report.to_dict()})
    return True


def _write_configuration(exp_dir: Path, folder: Path, report: RepairReport) -> None:
    """That of the original, with a section more, in which runs of the two differ."""
    conf = _configuration(exp_dir)
    conf["repair"] = {"method": report.method, "order": report.order}
    with whole_or_nothing(folder / "conf.yml") as partial:
        partial.write_text(yaml.safe_dump(conf, sort_keys=False))
    if (exp_dir / "training.json").exists():
        with whole_or_nothing(folder / "training.json") as partial:
            shutil.copy(exp_dir / "training.json", partial)


def _configuration(exp_dir: Path) -> dict[str, Any]:
    path = exp_dir / "conf.yml"
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
