"""The recipe's stages on tiny songs, each run by a child of the fork server, to be broken."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from asteroid_upsamplers.files import LOCK
from tests.data.test_prepare import write_stems
from tests.faults.results import results_of

STAGES = range(6)
SLOW_STAGES = (3, 4)
"""They begin with seconds of imports in every worker, or measure for long."""
PAGE = 4096
EPOCHS = 10
ENVIRONMENT = {
    **os.environ,
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
NETWORK = ["--channels", "2", "--depth", "3", "--batch_size", "4", "--epochs", str(EPOCHS)]
NETWORK += ["--segment", "0.4", "--segment_stride", "0.3", "--shift", "0.1"]


def stage_param(stage: int, *more: object, slow: bool = False):
    """A stage as a parameter of a test, which is marked as slow if the stage is."""
    marks = [pytest.mark.slow] if slow or stage in SLOW_STAGES else []
    return pytest.param(stage, *more, marks=marks)


SONGS = [f"{name} - song" for name in ("train/A", "train/B", "train/C", "train/D", "test/E")]
SONGS += ["test/F - song"]
"""Of the first four, two are trained on: A and C."""


def write_songs(root: Path, names: list[str]) -> None:
    """Songs as MUSDB18 has them, no two as long."""
    for index, name in enumerate(names):
        write_stems(root / f"{name}.stem.mp4", seconds=2 + 0.1 * index)


def command(stage: int, work: Path, *more: object) -> list[str]:
    """What ``run.sh`` runs in a stage, for the songs and the experiment below ``work``."""
    songs = ["--musdb18_dir", work / "data" / "musdb18"]
    songs += ["--wav_dir", work / "data" / "wav" / "musdb18"]
    exp_dir = work / "exp" / "tiny"
    words = {
        0: ["prepare_data.py", *songs],
        1: ["train.py", "--exp_dir", exp_dir, *songs, "--num_workers", 0, *NETWORK],
        2: ["eval.py", "separate", exp_dir, *songs],
        3: ["eval.py", "score", exp_dir, *songs],
        4: ["eval.py", "artifacts", exp_dir, *songs],
        5: ["-m", "asteroid_upsamplers.cli", "report", exp_dir, "--out", work / "exp" / "report"],
    }[stage]
    words[0] = f"local/{words[0]}" if stage == 0 else words[0]
    return [str(word) for word in (*words, *more)]


class Running:
    """A command that a child of the fork server runs, leader of a session of its own."""

    def __init__(self, server: "ForkServer", pid: int, log: Path):
        self.server, self.pid, self.log = server, pid, log

    def wait(self, seconds: float = 120) -> int | None:
        """The exit code, negative for a signal; ``None`` if it still runs after so long."""
        return self.server.ask(wait=self.pid, seconds=seconds)

    def end(self, seconds: float = 120) -> tuple[int | None, str]:
        """The exit code, and the last line that it wrote on standard error."""
        code = self.wait(seconds)
        return code, (self.errors.strip().splitlines() or [""])[-1]

    def send(self, number: int, group: bool) -> None:
        """A signal to it, or to all of its processes."""
        (os.killpg if group else os.kill)(self.pid, number)

    @property
    def errors(self) -> str:
        """What it has written on standard error."""
        return self.log.read_text()

    def processes(self) -> list[int]:
        """Those of its session that live."""
        return [pid for pid, session in sessions().items() if session == self.pid]

    def assert_no_orphans(self) -> None:
        """None of its processes outlives it for long."""
        wait_until(lambda: not self.processes(), 30)


class ForkServer:
    """The other end of ``fork_server.py``."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert self.process.stdout.readline(), "the fork server did not start"

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self, words: list[str], environment: dict[str, str] | None = None, memory: int | None = None
    ) -> Running:
        """Run a command, with more in its environment, or with so many bytes of memory at most."""
        self.count += 1
        log = self.folder / f"{self.count}.log"
        more = {"environment": environment or {}, "memory": memory}
        return Running(self, self.ask(start=words, log=str(log), **more), log)

    def run(self, words: list[str]) -> Running:
        """To its end, which must be a good one."""
        running = self.start(words)
        code = running.wait()
        assert code == 0, (code, running.errors)
        return running

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Unbroken:
    """What a stage gives, and how long it takes, if nothing happens to it."""

    seconds: float
    results: dict


class Recipe:
    """All stages, always at the same path, which is made anew from what the stage begins with."""

    def __init__(self, folder: Path, server: ForkServer, songs: list[str] = SONGS):
        self.server, self.work, self._states = server, folder / "work", folder / "states"
        self._unbroken: dict[tuple[str, ...], Unbroken] = {}
        write_songs(self._states / "0" / "data" / "musdb18", songs)

    @property
    def exp_dir(self) -> Path:
        """The experiment."""
        return self.work / "exp" / "tiny"

    @property
    def last_checkpoint(self) -> Path:
        """What training goes on from."""
        return self.exp_dir / "checkpoints" / "last.ckpt"

    def restore(self, stage: int) -> Path:
        """As it is before a stage."""
        if stage:
            self.unbroken(stage - 1)
        self.clear()
        state = self._states / str(stage)
        return shutil.copytree(state, self.work, symlinks=True, dirs_exist_ok=True)

    def clear(self) -> None:
        """Remove all, but not the folder itself: a disk may be mounted there."""
        self.work.mkdir(exist_ok=True)
        for path in self.work.iterdir():
            shutil.rmtree(path)

    def added(self, stage: int) -> int:
        """Bytes by which the stage makes the folder larger, in whole pages of memory."""
        self.unbroken(stage)
        before, after = (_pages(self._states / str(s)) for s in (stage, stage + 1))
        return (after - before) * PAGE

    def unbroken(self, stage: int, *more: object) -> Unbroken:
        """Measured once, on two runs that must give the same."""
        words = command(stage, self.work, *more)
        if (key := tuple(words)) not in self._unbroken:
            seconds, results = [], []
            for _ in range(2):
                self.restore(stage)
                start = time.monotonic()
                self.server.run(words)
                seconds.append(time.monotonic() - start)
                results.append(results_of(self.work))
            assert differing(*results) == []
            self._unbroken[key] = Unbroken(min(seconds), results[0])
            if not more:
                shutil.copytree(self.work, self._states / str(stage + 1), symlinks=True)
        return self._unbroken[key]

    def start(self, stage: int, *more: object, **how: object) -> Running:
        """Begin with a stage, options added; ``how`` as :meth:`ForkServer.start` has it."""
        return self.server.start(command(stage, self.work, *more), **how)

    def command(self, stage: int) -> list[str]:
        """What runs a stage."""
        return command(stage, self.work)

    def wait_for_checkpoint(self, running: Running, name: str = "last") -> None:
        """Until a run has written one."""
        path = self.last_checkpoint.with_stem(name)
        wait_until(lambda: path.exists() or not running.processes())
        assert path.exists(), running.errors

    def wait_for_lock(self, running: Running) -> None:
        """Until a run has the experiment for itself."""
        lock = self.exp_dir / LOCK

        def held() -> bool:
            inodes = Path("/proc/locks").read_text()
            return lock.exists() and f":{lock.stat().st_ino} " in inodes

        wait_until(lambda: held() or not running.processes())
        assert held(), running.errors

    def assert_goes_on(self, stage: int, *more: object) -> None:
        """Run a stage again: it finishes, and all is as if nothing had happened."""
        self.server.run(command(stage, self.work, *more))
        self.assert_is_unbroken(stage, *more)

    def assert_is_unbroken(self, stage: int, *more: object) -> None:
        """What is there is what an unbroken run of a stage gives."""
        assert differing(results_of(self.work), self.unbroken(stage, *more).results) == []

    def run_through(self) -> None:
        """All stages, once."""
        self.restore(0)
        for stage in STAGES:
            self.server.run(self.command(stage))


def _pages(folder: Path) -> int:
    return sum(-(-path.lstat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


def differing(found: dict, expected: dict) -> list[str]:
    """Names of results that are not the same in both, or in one only."""
    names = found.keys() | expected.keys()
    return sorted(name for name in names if found.get(name, "-") != expected.get(name, "-"))


def sessions() -> dict[int, int]:
    """Of every process that lives, the session."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            found[int(path.parent.name)] = int(fields[3])
    return found


def wait_until(condition, seconds: float = 60):
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come true")


SIGKILL, SIGTERM = signal.SIGKILL, signal.SIGTERM
