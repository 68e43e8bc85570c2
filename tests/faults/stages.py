"""The recipe's stages on tiny songs, each a command of its own, and what they leave behind."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import soundfile
import torch

from tests.data.test_prepare import write_stems
from tests.training.recipe import ENVIRONMENT, RECIPE, TINY

STAGES = range(6)
TIMES = {"seconds_per_epoch", "epoch_seconds", "seconds", "audio_seconds", "real_time_factor"}
"""How long something took, and of what: an interrupted run separates only what is missing."""

NOTED = {"mtime_ns", "ctime_ns", "inode", "digest"}
"""Of the files that something was made from; libsndfile puts the time into headers."""


class Stages:
    """All stages in one folder, which can be put back to how it was before a stage."""

    def __init__(self, folder: Path, songs: list[str]):
        self.work, self._states = folder / "work", folder / "states"
        self._results: dict[int, dict] = {}
        self.seconds: dict[int, float] = {}
        for index, name in enumerate(songs):
            path = self._states / "0" / "set" / f"{name}.stem.mp4"
            write_stems(path, seconds=1.2 + 0.1 * index)

    @property
    def exp_dir(self) -> Path:
        """The experiment."""
        return self.work / "exp" / "tiny"

    def command(self, stage: int) -> list[str]:
        """What ``run.sh`` runs in a stage."""
        songs = ["--musdb18_dir", self.work / "set", "--wav_dir", self.work / "wav"]
        report = ["-m", "asteroid_upsamplers.cli", "report", self.exp_dir]
        words = {
            0: ["local/prepare_data.py", *songs],
            1: ["train.py", "--exp_dir", self.exp_dir, *songs, *TINY.split(), "--epochs", 8],
            2: ["eval.py", "separate", *songs, self.exp_dir],
            3: ["eval.py", "score", *songs, self.exp_dir],
            4: ["eval.py", "artifacts", *songs, self.exp_dir],
            5: [*report, "--out", self.work / "exp" / "report"],
        }[stage]
        return [sys.executable, *map(str, words)]

    def start(self, stage: int) -> subprocess.Popen:
        """Begin with a stage, in a session of its own."""
        how = {"cwd": RECIPE, "env": ENVIRONMENT, "start_new_session": True, "text": True}
        return subprocess.Popen(self.command(stage), stderr=subprocess.PIPE, **how)

    def run(self, stage: int) -> None:
        """A stage to its end, which must be a good one."""
        process = self.start(stage)
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors

    def restore(self, stage: int) -> None:
        """As it is before a stage."""
        if stage:
            self.unbroken(stage - 1)
        self.clear()
        shutil.copytree(self._states / str(stage), self.work, symlinks=True, dirs_exist_ok=True)

    def clear(self) -> None:
        """Remove all, but not the folder itself: a disk may be mounted there."""
        self.work.mkdir(exist_ok=True)
        for path in self.work.iterdir():
            shutil.rmtree(path)

    def unbroken(self, stage: int) -> dict:
        """What a stage leaves that nothing disturbs; run once."""
        if stage not in self._results:
            self.restore(stage)
            begun = time.monotonic()
            self.run(stage)
            self.seconds[stage] = time.monotonic() - begun
            self._results[stage] = results_of(self.work)
            shutil.copytree(self.work, self._states / str(stage + 1), symlinks=True)
        return self._results[stage]

    def assert_goes_on(self, stage: int) -> None:
        """Run a stage again: it ends well, and all is as if nothing had happened."""
        expected = self._results[stage]
        self.run(stage)
        found = results_of(self.work)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []


def results_of(work: Path) -> dict[str, Any]:
    """Every file below a folder: its bits, but for times and the logs of Lightning."""
    results: dict[str, Any] = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if "logs" in path.relative_to(work).parts or path.is_dir():
            continue
        if path.suffix in (".ckpt", ".pth"):
            results |= leaves(name, torch.load(path, weights_only=True))
        elif path.suffix == ".json":
            results |= leaves(name, json.loads(path.read_text()))
        elif path.suffix == ".wav":  # libsndfile puts the time into the header
            results[name] = hashlib.sha256(soundfile.read(path)[0].tobytes()).hexdigest()
        elif not path.name.startswith("report."):  # its pages show times
            results[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            results[name] = path.stat().st_size > 0
    return results


def leaves(name: str, content: Any) -> dict[str, Any]:
    """Plain values and bits of tensors, by where they are; without times."""
    if isinstance(content, dict):
        parts = [(key, part) for key, part in content.items() if key not in TIMES | NOTED]
    elif isinstance(content, (list, tuple)):
        parts = list(enumerate(content))
    elif isinstance(content, torch.Tensor):
        return {name: hashlib.sha256(content.numpy().tobytes()).hexdigest()}
    else:
        return {name: repr(content)}
    return {k: v for key, part in parts for k, v in leaves(f"{name}/{key}", part).items()}
