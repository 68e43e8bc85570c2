r"""Take tones out behind the layer that makes them: in the network's last convolution.

A vocoder works with the tones of its upsampling layers; without them its speech is spoilt. But a
tone need not leave the network. Where a plain convolution is all that comes after the last
upsampling layer, apart from what is applied to each sample by itself, its response at the tones'
frequencies can be made zero. With :math:`w_k` its taps and :math:`L` the layer's stride, the tones
are at :math:`m / L` of the sample rate, and

.. math:: \sum_k w_k e^{-2 \pi i k m / L} = 0 \quad \text{for } m = 1 \ldots L - 1
   \quad \Longleftrightarrow \quad \sum_{k \equiv r} w_k \ \text{is the same for all}\ r = 0
   \ldots L - 1,

as the left side is the discrete Fourier transform of the phase sums: *equal phase sums* once more,
of a convolution that does not upsample. It notches whatever the network has to say at these
frequencies, and nothing else. All phases act on the same output sample, so that with the covariance
:math:`R` of the windows, the constraints :math:`A w = 0` and :math:`w` over all taps and input
channels, the least change of the output is :math:`w - R^{-1} A^T (A R^{-1} A^T)^{-1} A w`. The tone
itself is no part of what shall stay: windows count less the mean of their phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..probe.state import undisturbed
from .calibrated import SHRINK
from .inputs import inputs_of, received, signals
from .phases import nearest_taps
from .site import Site

LEVEL = 0.1
"""Of a constant that is put in the place of a convolution's output."""


def last_convolution(
    network: nn.Module, sites: Sequence[Site], calibration: Any = None, example: Any = None
) -> Site:
    """The convolution after the last upsampling layer, as a site with the stride of that layer.

    Args:
        network: Is run once or twice.
        sites: Its upsampling layers.
        calibration: An input of the network, or several.
        example: The same, or the shape of one.

    Raises:
        UsageError: (a ``ValueError``) if the network does not end with one.
    """
    x = inputs_of(network, "notch", calibration, example)[0]
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv1d)]
    modules: list[nn.Module] = [site.module for site in sites]
    calls: list[nn.Module] = []

    with undisturbed(network):
        for module in {*convolutions, *modules}:
            module.register_forward_hook(lambda module, *_: calls.append(module))
        signals(network, x)
    last = calls[-1] if calls else network
    if last in modules or not isinstance(last, nn.Conv1d):
        raise UsageError(
            "method 'notch' needs a convolution after the last upsampling layer, and here there is "
            "none: repair the layers (method 'phases' or 'calibrated')"
        )
    before = [module for module in calls if module in modules]
    name = next(name for name, module in network.named_modules() if module is last)
    if not before or calls.count(last) > 1 or not _ends_with(network, last, x):
        raise UsageError(
            f"method 'notch' needs a convolution with nothing after it but functions of each "
            f"sample: {name or 'the last one'} is none (try 'phases' or 'calibrated')"
        )
    return _site(name, last, sites[modules.index(before[-1])].stride)


def _ends_with(network: nn.Module, module: nn.Module, x: Tensor) -> bool:
    """Whether the output is constant in time where that of the module is."""
    with undisturbed(network):
        module.register_forward_hook(lambda _, __, y: torch.full_like(y, LEVEL))
        found = signals(network, x)
    return all(bool((y - y[..., :1]).abs().max() <= 1e-6 * (1 + y.abs().max())) for y in found)


def _site(name: str, module: nn.Conv1d, stride: int) -> Site:
    out, inputs, size = module.weight.shape
    if module.stride[0] > 1 or module.dilation[0] > 1 or size < stride:
        raise UsageError(
            f"method 'notch': {name} has {size} taps, stride {module.stride[0]} and dilation "
            f"{module.dilation[0]}; at least {stride} taps are needed, and 1 for the others"
        )
    frames = -(-size // stride)
    numbers = torch.arange(out * inputs * size, dtype=torch.int).view(out, inputs, size)
    numbers = nn.functional.pad(numbers, (0, frames * stride - size), value=-1)
    numbers = numbers.unflatten(2, (frames, stride)).flip(2).permute(0, 3, 1, 2)
    return Site(name, "convolution", module, numbers, groups=module.groups)


def notch(
    network: nn.Module,
    sites: Sequence[Site],
    *,
    order: int = 0,
    calibration: Any = None,
    example: Any = None,
) -> list[str]:
    """Give the last convolution no response at the tones of the layer before it, in place.

    Args:
        network: That holds it.
        sites: What :func:`last_convolution` gives.
        calibration: Inputs of the network, on which the output shall change least; ``None`` for the
            least change of the weights.
        order: 0; ramps are no matter of the last convolution.
        example: Is not needed.

    Returns:
        Warnings.
    """
    if order:
        raise UsageError("method 'notch' has no order=1: use order=0")
    (site,) = sites
    taps = site.taps()
    if calibration is None or site.groups > 1:
        site.assign(nearest_taps(taps, site.mask, site.places))
        return []
    moments = covariance(network, site, inputs_of(network, "notch", calibration))
    phase = site.mask.nonzero()[:, 0]
    rows = nn.functional.one_hot(phase, site.stride).double().T
    rows = rows[1:] - rows[:1]  # differences of phase sums
    rows = torch.block_diag(*[rows] * taps.shape[2])
    weights = taps.transpose(1, 2)[:, :, site.mask].flatten(1)
    pushes = torch.linalg.solve(moments, rows.T)
    weights = weights - (weights @ rows.T) @ torch.linalg.solve(rows @ pushes, pushes.T)
    nearest = torch.zeros_like(taps).transpose(1, 2)
    nearest[:, :, site.mask] = weights.unflatten(1, (taps.shape[2], -1))
    site.assign(nearest.transpose(1, 2))
    return []


def covariance(network: nn.Module, site: Site, inputs: Sequence[Tensor]) -> Tensor:
    """Of the windows of the convolution less the mean of each phase, ``(in * taps, in * taps)``.

    Taps of a channel are in the order of ``site.mask``, phase by phase.
    """
    times = site.places[site.mask].long()
    size = len(times)
    squares: Any = 0.0
    count = 0

    def take(_: int, x: Tensor) -> None:
        nonlocal squares, count
        for phase in range(site.stride):
            for part in x.double().cpu():
                if part.shape[-1] < size + site.stride:
                    continue
                windows = part.unfold(-1, size, 1)[:, phase :: site.stride, times]
                windows = windows.transpose(0, 1).flatten(1)
                windows = windows - windows.mean(0)
                squares, count = squares + windows.T @ windows, count + len(windows)

    received(network, [site.module], inputs, take)
    if not count:
        raise UsageError(f"calibration is shorter than the filters of {site.name}")
    squares = squares / count
    return squares + SHRINK * squares.diagonal().mean() * torch.eye(len(squares)).to(squares)
