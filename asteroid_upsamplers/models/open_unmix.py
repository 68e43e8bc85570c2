"""Open-Unmix: the network and the Wiener filter of the ``openunmix`` package, as an Asteroid model.

[30] Stöter et al., "Open-Unmix: a reference implementation for music source separation", Journal of
Open Source Software 4(41), 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from asteroid.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks.arguments import at_least
from ..errors import UsageError
from .base import MusicSeparator


class OpenUnmix(MusicSeparator):
    """Open-Unmix ([30]): a bidirectional LSTM for each source, on magnitude spectrograms.

    It has no upsampling layer and serves as a baseline, as in the paper's Table 1. The defaults
    have 8,893,348 parameters a source. In training, each source has the mixture's phase; in
    evaluation mode the multichannel Wiener filter follows. State dicts of the package's
    ``Separator`` with the same settings (``umxhq``, ``umx``, ``umxl``) load as they are.

    Args:
        sources: Names of the sources, in the order of the output.
        audio_channels: Channels of the mixture and of each source, 1 or 2.
        hidden_size: Of the LSTMs, even.
        n_layers: Of each LSTM.
        max_bin: Frequency bins that the network looks at, from 0 Hz: 1487 is 16 kHz at 44.1 kHz.
        n_fft: Length of the window and of the transform.
        hop_length: Samples from frame to frame.
        wiener_iterations: Of the expectation maximisation in evaluation mode; 0 for none, as for a
            single source.
        sample_rate: In Hz.
        normalize: Whether ``separate`` brings a track to level 1 and its estimates back.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.

    Example:
        >>> import torch
        >>> model = OpenUnmix(hidden_size=8, n_layers=1, n_fft=512, hop_length=128, max_bin=200)
        >>> model(torch.zeros(1, 2, 1000)).shape
        torch.Size([1, 4, 2, 1000])
    """

    def __init__(
        self,
        sources: Sequence[str] = ("drums", "bass", "other", "vocals"),
        audio_channels: int = 2,
        hidden_size: int = 512,
        n_layers: int = 3,
        max_bin: int = 1487,
        n_fft: int = 4096,
        hop_length: int = 1024,
        wiener_iterations: int = 1,
        sample_rate: float = 44100,
        normalize: bool = False,
    ):
        super().__init__(sources, audio_channels, sample_rate, normalize)
        check_settings(self, hidden_size, n_layers, max_bin, n_fft, hop_length)
        at_least("OpenUnmix", 0, wiener_iterations=wiener_iterations)
        from openunmix.model import OpenUnmix as TargetModel
        from openunmix.model import Separator

        self.n_fft, self.wiener_iterations = n_fft, wiener_iterations
        self.separator = Separator(
            {
                source: TargetModel(
                    n_fft // 2 + 1, audio_channels, hidden_size, n_layers, max_bin=max_bin
                )
                for source in self.sources
            },
            sample_rate=float(sample_rate),
            n_fft=n_fft,
            n_hop=hop_length,
            nb_channels=audio_channels,
        )
        self.register_load_state_dict_pre_hook(weights_below("separator", "target_models."))

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``."""
        self.check_shape(mixture)
        time = mixture.shape[-1]
        filtered = not self.training and len(self.sources) > 1
        self.separator.niter = self.wiener_iterations if filtered else 0
        padded = F.pad(mixture, (0, max(0, self.n_fft - time)))  # it is reflected at the ends
        return self.separator(padded)[..., :time]


def weights_below(child: str, first: str) -> Callable[..., None]:
    """A hook that loads the weights of another implementation, which our ``child`` is.

    Args:
        child: Name of the module that holds the implementation.
        first: How the names of its weights begin, so that they are told from ours.
    """

    def rename(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        if any(key.startswith(prefix + first) for key in state_dict):
            for key in [key for key in state_dict if key.startswith(prefix)]:
                state_dict[f"{prefix}{child}.{key[len(prefix) :]}"] = state_dict.pop(key)

    return rename


def check_settings(
    model: MusicSeparator,
    hidden_size: int,
    n_layers: int,
    max_bin: int,
    n_fft: int,
    hop_length: int,
) -> None:
    """Refuse what neither Open-Unmix nor X-UMX can do.

    Raises:
        UsageError: Naming the model, the setting and its value.
    """
    name, bins = type(model).__name__, n_fft // 2 + 1
    at_least(name, 1, hidden_size=hidden_size, n_layers=n_layers, max_bin=max_bin)
    at_least(name, 1, n_fft=n_fft, hop_length=hop_length)
    if model.in_channels not in (1, 2):
        raise UsageError(f"{name}: audio_channels is {model.in_channels}, must be 1 or 2")
    if hidden_size % 2:
        raise UsageError(
            f"{name}: hidden_size is {hidden_size}, must be even: half of it goes to each direction"
        )
    if max_bin > bins:
        raise UsageError(
            f"{name}: max_bin is {max_bin}, must be at most {bins}, the bins of an n_fft of {n_fft}"
        )
    if hop_length > n_fft // 2:
        raise UsageError(f"{name}: hop_length is {hop_length}, must be at most half of n_fft")


register_model(OpenUnmix)
