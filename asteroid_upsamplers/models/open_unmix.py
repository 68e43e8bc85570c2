"""Open-Unmix: the network and the Wiener filter of the ``openunmix`` package, as an Asteroid model.

[30] Stöter et al., "Open-Unmix: a reference implementation for music source separation", Journal of
Open Source Software 4(41), 2019.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from asteroid.models import register_model
from openunmix.model import OpenUnmix as TargetModel
from openunmix.model import Separator
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from .base import MusicSeparator


class OpenUnmix(MusicSeparator):
    """Open-Unmix ([30]): a bidirectional LSTM for each source, on magnitude spectrograms.

    It upsamples nowhere; it stands here as the paper's Table 1 has it. With the defaults 8,893,348
    parameters a source. While it learns, each source has the mixture's phase; in evaluation mode
    the multichannel Wiener filter follows. State dicts of the package's ``Separator`` with the same
    settings (``umxhq``, ``umx``, ``umxl``) load as they are.

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
        super().__init__(tuple(sources), audio_channels, sample_rate, normalize)
        self._model_args: dict[str, Any] = {
            "sources": list(sources),
            "audio_channels": audio_channels,
            "hidden_size": hidden_size,
            "n_layers": n_layers,
            "max_bin": max_bin,
            "n_fft": n_fft,
            "hop_length": hop_length,
            "wiener_iterations": wiener_iterations,
            "sample_rate": sample_rate,
            "normalize": normalize,
        }
        check_settings("OpenUnmix", self._model_args)
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
        self.register_load_state_dict_pre_hook(_rename_reference_weights)

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``."""
        self.check_shape(mixture)
        time = mixture.shape[-1]
        filtered = not self.training and len(self.sources) > 1
        self.separator.niter = self.wiener_iterations if filtered else 0
        padded = F.pad(mixture, (0, max(0, self.n_fft - time)))  # it is reflected at the ends
        return self.separator(padded)[..., :time]

    def get_model_args(self) -> dict[str, Any]:
        """Plain values; ``OpenUnmix(**args)`` builds the same network."""
        return copy.deepcopy(self._model_args)


def _rename_reference_weights(
    module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: Any
) -> None:
    """Give the tensors of the package's ``Separator`` our names."""
    if any(key.startswith(f"{prefix}target_models.") for key in state_dict):
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[f"{prefix}separator.{key[len(prefix) :]}"] = state_dict.pop(key)


def check_settings(name: str, args: dict[str, Any]) -> None:
    """Refuse what neither Open-Unmix nor X-UMX can do.

    Raises:
        UsageError: Naming the model, the setting, its value and what is allowed.
    """
    for setting in ("hidden_size", "n_layers", "max_bin", "n_fft", "hop_length"):
        if args[setting] < 1:
            raise UsageError(f"{name}: {setting} is {args[setting]}, allowed is 1 and up")
    if args["audio_channels"] not in (1, 2):
        raise UsageError(f"{name}: audio_channels is {args['audio_channels']}, allowed is 1 or 2")
    if args["hidden_size"] % 2:
        raise UsageError(
            f"{name}: hidden_size is {args['hidden_size']}, allowed is an even number: half of it "
            "in each direction"
        )
    bins = args["n_fft"] // 2 + 1
    if args["max_bin"] > bins:
        raise UsageError(
            f"{name}: max_bin is {args['max_bin']}, allowed is up to the {bins} bins of an n_fft "
            f"of {args['n_fft']}"
        )
    if args["hop_length"] > args["n_fft"] // 2:
        raise UsageError(
            f"{name}: hop_length is {args['hop_length']}, allowed is up to half of n_fft"
        )
    if args.get("wiener_iterations", 0) < 0:
        raise UsageError(
            f"{name}: wiener_iterations is {args['wiener_iterations']}, allowed is 0 and up"
        )
    if not args["sources"]:
        raise UsageError(f"{name}: sources is empty, at least one name is needed")


register_model(OpenUnmix)
