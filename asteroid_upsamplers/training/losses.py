"""What the systems of Table 1 minimise, by name.

Each takes estimates and sources, both ``(batch, source, channel, time)``, and gives a scalar.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
[2] Stoller et al., "Wave-U-Net: a multi-scale neural network for end-to-end audio source
separation", ISMIR 2018.
[30] Stöter et al., "Open-Unmix: a reference implementation for music source separation", Journal of
Open Source Software 4(41), 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

N_FFT, HOP_LENGTH = 4096, 1024


def l1(estimates: Tensor, sources: Tensor) -> Tensor:
    """Mean absolute difference of the samples ([1] Sec. 6)."""
    return F.l1_loss(estimates, sources)


def mse(estimates: Tensor, sources: Tensor) -> Tensor:
    """Mean squared difference of the samples ([2])."""
    return F.mse_loss(estimates, sources)


def spectrogram_mse(estimates: Tensor, sources: Tensor) -> Tensor:
    """Mean squared difference of the magnitudes of frames of 4096 samples, one every 1024 ([30]).

    [30] compares the magnitudes that its network gives; here it is those of the sound which is made
    of them, so that any network can be asked.
    """
    return F.mse_loss(_magnitudes(estimates), _magnitudes(sources))


def _magnitudes(signals: Tensor) -> Tensor:
    window = torch.hann_window(N_FFT, device=signals.device)
    spectra = torch.stft(
        signals.flatten(0, -2).float(),
        N_FFT,
        HOP_LENGTH,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    return spectra.abs()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    loss.__name__: loss for loss in (l1, mse, spectrogram_mse)
}
"""By the name that ``training.loss`` has in a ``conf.yml``."""
