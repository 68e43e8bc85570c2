"""Untrained networks fed with white noise ([1] Figs. 1 and 9)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..artifacts import filtering_of_signal, prominence
from ..models import DemucsLike, MelGANGenerator
from ..probe import tone_frequencies
from ..probe.feed import white_noise
from ..probe.spectrogram import N_FFT, Panel, spectrogram

SECONDS = 6.0
CHANNELS = 32
WIDTHS = (8, 16, 32, 64)
SEEN_DB = 6.0
"""Prominence from which a tone is seen in a spectrogram of noise."""

QUARTER = "11025"
"""The tone at a quarter of Demucs' sample rate, in Hz, as the numbers name it."""


class Output(NamedTuple):
    """A network's output ``(channels, time)``, its rate in Hz, and its last layer's stride."""

    signal: Tensor
    rate: float
    stride: int

    @property
    def tones(self) -> list[float]:
        """Where the last layer makes tones, in Hz."""
        return tone_frequencies(self.rate, [self.stride])

    def panel(self) -> Panel:
        """The first channel without its mean, which else is all that is seen of MelGAN.

        Of the last layer's tones those are marked that stand out in the picture.
        """
        mono = self.signal[:1] - self.signal[:1].mean()
        levels = prominence(mono, self.rate, self.tones, n_fft=N_FFT).tolist()
        tones = [f for f, db in zip(self.tones, levels, strict=True) if db > SEEN_DB]
        return Panel(spectrogram(mono[0].numpy()), self.rate, tones)

    def numbers(self) -> dict[str, Any]:
        """Prominence of the last layer's tones, and depth of the valley at its input rate."""
        levels = prominence(self.signal, self.rate, self.tones).tolist()
        return {
            "prominence_db": {f"{f:g}": v for f, v in zip(self.tones, levels, strict=True)},
            "valley_db": filtering_of_signal(self.signal, self.stride).valleys_db[0],
        }


def initial_networks(seed: int = 0) -> dict[str, Any]:
    """Fig. 1: artifacts after initialization.

    Tones are horizontal lines (MelGAN, Demucs with transposed and with subpixel convolutions),
    filtering by nearest-neighbour interpolation is a horizontal valley.
    """
    outputs = {
        "(a) MelGAN": _melgan(seed),
        "(b) Demucs: original": _demucs(seed, "transposed"),
        "(c) Demucs: nearest neighbor": _demucs(seed, "nearest"),
        "(d) Demucs: subpixel CNN": _demucs(seed, "subpixel"),
    }
    return {
        "panels": {title: output.panel() for title, output in outputs.items()},
        "numbers": {title: output.numbers() for title, output in outputs.items()},
    }


def modified_networks(seed: int = 0) -> dict[str, Any]:
    """Fig. 9: Demucs without ReLU in the first layer and without biases.

    Its tones are far below the original's. ``drop_db`` says how far, and ``drop_by_channels_db``
    how far at a quarter of the sample rate with transposed convolutions, by width of the network.
    """
    panels, numbers = {}, {}
    for title, upsampler in (
        ("(a) Demucs (original) modification", "transposed"),
        ("(d) Demucs (subpixel CNN) modification", "subpixel"),
    ):
        modified = _demucs(seed, upsampler, modified=True)
        panels[title] = modified.panel()
        numbers[title] = {**modified.numbers(), "drop_db": _drops(seed, upsampler, CHANNELS)}
    numbers["drop_by_channels_db"] = {
        str(channels): _drops(seed, "transposed", channels)[QUARTER] for channels in WIDTHS
    }
    return {"panels": panels, "numbers": numbers}


def _drops(seed: int, upsampler: str, channels: int) -> dict[str, float]:
    """By how many dB the modification lowers the prominence of each tone."""
    before, after = (
        _demucs(seed, upsampler, channels, modified).numbers()["prominence_db"]
        for modified in (False, True)
    )
    return {frequency: before[frequency] - after[frequency] for frequency in after}


@torch.no_grad()
def _demucs(seed: int, upsampler: str, channels: int = CHANNELS, modified: bool = False) -> Output:
    """All output channels for uniform stereo noise in [-1, 1]."""
    model = _seeded(DemucsLike, seed, upsampler=upsampler, channels=channels, modified=modified)
    x = white_noise(model, (1, 2, round(SECONDS * model.sample_rate)), seed)
    return Output(model(x)[0].flatten(0, 1), int(model.sample_rate), 4)


@torch.no_grad()
def _melgan(seed: int) -> Output:
    """The waveform for normal noise in place of the spectrogram.

    Log-mel spectrograms of white noise are smooth, which shapes the noise floor around the tones.
    """
    model = _seeded(MelGANGenerator, seed)
    generator = torch.Generator().manual_seed(seed)
    frames = round(SECONDS * model.sample_rate / model.hop)
    return Output(model(torch.randn(1, 80, frames, generator=generator))[0], model.sample_rate, 2)


def _seeded(cls: type[nn.Module], seed: int, **settings: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return cls(**settings).eval()
