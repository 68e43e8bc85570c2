"""Run Asteroid's own model tests with our classes in the place of Asteroid's.

    ASTEROID_CHECKOUT=<folder> python -m tests.asteroid.suite [UPSAMPLER ...]

The folder is a checkout of github.com/asteroid-team/asteroid at the version that is installed;
nothing is fetched. Every test that passes with Asteroid's classes must pass with ours, for every
registered upsampler. Tests of SuDORMRF are left out for upsamplers that cannot do its stride.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from asteroid_upsamplers import layers

TESTS = ("tests/models/models_test.py", "tests/jit/jit_models_test.py")
NOT_OURS = ("dcunet", "dccrnet", "fasnet", "demask", "enhancement", "hf")
"""Words in the names of tests of models that ours do not replace, or that want the network."""

SUDORMRF_STRIDE = 10


def outcomes(checkout: Path, upsampler: str | None) -> dict[str, bool]:
    """Which of Asteroid's tests pass, by name."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "UPSAMPLER": upsampler or "",
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.asteroid.replaced"]
        words += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder]
        words += ["--import-mode=importlib", f"--junitxml={report}"]
        words += ["-k", " and ".join(f"not {word}" for word in NOT_OURS)]
        words += [str(checkout / test) for test in TESTS]
        subprocess.run(words, env=environment, cwd=folder, capture_output=True)
        if not report.exists():
            raise RuntimeError(f"{checkout}: pytest could not run {', '.join(TESTS)} there")
        cases = ElementTree.parse(report).iter("testcase")
        return {
            f"{case.get('classname')}::{case.get('name')}": not any(
                case.find(kind) is not None for kind in ("failure", "error", "skipped")
            )
            for case in cases
        }


def compare(checkout: Path, upsampler: str, originals: dict[str, bool]) -> tuple[int, list[str]]:
    """How many tests that pass with Asteroid's classes pass with ours, and which do not."""
    ours = outcomes(checkout, upsampler)
    fits = layers.get(upsampler).allows_stride(SUDORMRF_STRIDE)
    wanted = [
        name
        for name, passes in originals.items()
        if passes and (fits or "sudormrf" not in name.lower())
    ]
    return len(wanted), [name for name in wanted if not ours.get(name)]


def main() -> None:
    """Print a line for each upsampler; exit status 1 if a test fails with ours only."""
    folder = os.environ.get("ASTEROID_CHECKOUT")
    if not folder or not (Path(folder) / TESTS[0]).exists():
        sys.exit("error: ASTEROID_CHECKOUT must name a checkout of Asteroid with its tests")
    checkout, failed = Path(folder).resolve(), False
    originals = outcomes(checkout, None)
    sys.stdout.write(f"Asteroid's classes: {sum(originals.values())} of {len(originals)} pass\n")
    for upsampler in sys.argv[1:] or layers.available():
        count, worse = compare(checkout, upsampler, originals)
        failed = failed or bool(worse)
        sys.stdout.write(f"{upsampler}: {count - len(worse)} of {count} of these\n")
        sys.stdout.writelines(f"  fails: {name}\n" for name in worse)
        sys.stdout.flush()
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
