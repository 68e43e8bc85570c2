"""What a network calls silence: zeros for one that takes a waveform, but not for features.

The logarithm of a mel spectrogram is a large negative number in silence, and its zeros are loud
sound; a codec's latents of silence are what its own encoder makes of zeros.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..dsp.spectra import decibels
from ..errors import UsageError
from .feed import Feed
from .outputs import named_tensors
from .targets import MEL_ATTRIBUTES, MOST_WAVEFORM_CHANNELS, stated

LOG_MEL = -11.5
"""About ln 1e-5, as HiFi-GAN and Tacotron 2 write silence."""

LEAST_FRAME = 32
"""Samples of output for each frame of input, from which on the input is frames of features."""


class Silence(NamedTuple):
    """The input that stands for silence.

    Args:
        input: As the network takes it.
        words: What it is, for the report.
        remark: What is uncertain about it; empty if nothing is.
    """

    input: Tensor
    words: str
    remark: str = ""


def silence_for(feed: Feed, given: float | None) -> Silence:
    """The value that was given, else the network's own, else what it encodes silence as.

    A network's own is its attribute ``silence``: a number, or a tensor that has its input's shape
    or one value for each channel.

    Raises:
        UsageError: If it is no finite number, or the network's own does not fit its input.
    """
    if given is not None:
        return Silence(torch.full_like(feed.noise, given), f"{given:g}, as given")
    own = _own(feed)
    if own is not None:
        return own
    features = _features(feed)
    if features is None:
        return Silence(torch.zeros_like(feed.noise), "zeros")
    latents = _encoded(feed)
    if latents is not None:
        return Silence(latents, "what the network's encode makes of zeros")
    bands = stated(feed.network, MEL_ATTRIBUTES)
    if bands in features:
        remark = (
            f"the input is a mel spectrogram of {bands:g} bands, whose logarithm is loud sound at "
            f"0: {LOG_MEL} was taken for silence, about ln 1e-5 (pass --silence if the network "
            "was trained with another logarithm or floor, such as -5 for log10)"
        )
        return Silence(
            torch.full_like(feed.noise, LOG_MEL), f"log-mel of silence, {LOG_MEL}", remark
        )
    return Silence(torch.zeros_like(feed.noise), "zeros", _doubt(feed, max(features)))


def _own(feed: Feed) -> Silence | None:
    own: Any = getattr(feed.network, "silence", None)
    if own is None or isinstance(own, (bool, str)) or callable(own):
        return None
    noise = feed.noise
    try:
        x = torch.as_tensor(own).detach().to(noise.device, noise.dtype)
        if x.dim() == 1 and len(x) > 1:  # one value a channel
            sizes = [len(x) if k == _channel_axis(feed) else 1 for k in range(noise.dim())]
            x = x.reshape(sizes)
        x = x.expand_as(noise)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"the network's attribute silence is no number, and no tensor that fits an input of "
            f"shape {tuple(noise.shape)} (--silence takes a number instead)"
        ) from error
    if not x.isfinite().all():
        raise UsageError("the network's attribute silence is not finite (--silence)")
    value = f" ({float(x.flatten()[0]):g})" if x.numel() and (x == x.flatten()[0]).all() else ""
    return Silence(x.clone(), f"the network's own silence{value}")


def _channel_axis(feed: Feed) -> int:
    return next(k for k in range(feed.noise.dim() - 1, -1, -1) if k != feed.axis)


def _features(feed: Feed) -> list[int] | None:
    """Sizes of the input's other axes than time if it is frames of features, no waveform."""
    shape = feed.noise.shape
    sizes = [n for axis, n in enumerate(shape) if axis != feed.axis and (axis or len(shape) < 2)]
    frames = (feed.factor or 0) >= LEAST_FRAME and max(sizes, default=0) > MOST_WAVEFORM_CHANNELS
    return sizes if frames else None


def _encoded(feed: Feed) -> Tensor | None:
    """The middle frame of what the network encodes zeros as, over the whole input."""
    encode = getattr(feed.network, "encode", None)
    if not callable(encode):
        return None
    noise = feed.noise
    samples = round((feed.factor or 1) * noise.shape[feed.axis])
    for shape in ((1, 1, samples), (1, 2, samples), (1, samples)):
        try:
            with torch.no_grad():
                encoded = encode(torch.zeros(shape, device=noise.device, dtype=noise.dtype))
        except Exception:  # whatever a stranger's method raises for a shape that it does not take
            continue
        for x in named_tensors(encoded).values():
            if x.is_floating_point() and x.dim() == noise.dim():
                frame = x.detach().narrow(feed.axis, x.shape[feed.axis] // 2, 1)
                others = [n for axis, n in enumerate(x.shape) if axis != feed.axis]
                if others == [n for axis, n in enumerate(noise.shape) if axis != feed.axis]:
                    return frame.expand_as(noise).to(noise).clone()
    return None


def _doubt(feed: Feed, channels: int) -> str:
    """What the network makes of zeros, which may be no silence, and of log-mel silence."""
    feed_silence, levels = feed.silence, []
    for value in (0.0, LOG_MEL):
        feed.silence = torch.full_like(feed.noise, value)
        y = feed.run(0)
        y = y[..., y.shape[-1] // 4 : 3 * y.shape[-1] // 4]
        levels.append(float(decibels((y - y.mean(-1, keepdim=True)).square().mean())))
    feed.silence = feed_silence
    return (
        f"the input is frames of {channels} features, of which zeros need not be silence (of a "
        f"log-mel spectrogram they are loud sound): zeros give {levels[0]:.1f} dB, {LOG_MEL} gives "
        f"{levels[1]:.1f} dB; pass --silence VALUE, or give the network an attribute silence"
    )
