r"""An upsampling layer as a linear system, wherever it comes from.

Every upsampling layer here is linear and periodically time varying ([1] Sec. 2 to 4). With input
channels :math:`i`, stride :math:`s`, impulse responses :math:`h` and a constant :math:`b` for every
phase,

.. math:: y_o[n] = b_o[n \bmod s] + \sum_i \sum_m x_i[m] \, h_{oi}[n - m s + a s],

where :math:`a` is how many input samples a response begins before its impulse.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class UpsamplingSystem:
    """The impulse responses and constants of an upsampling layer, in float64.

    Args:
        responses: :math:`h`, ``(out_channels, in_channels / groups, samples)`` at the output rate;
            sample ``n`` is of phase ``n % stride``.
        stride: Upsampling factor.
        offsets: :math:`b`, what each phase of the output is for an input of zeros:
            ``(out_channels, stride)``.
        groups: Blocks of channels that do not mix, as in ``nn.Conv1d``.
        before: :math:`a`, in input samples.
    """

    responses: Tensor
    stride: int
    offsets: Tensor
    groups: int = 1
    before: int = 0

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.responses.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.responses.shape[0]

    def by_phase(self, responses: Tensor) -> Tensor:
        """``(..., samples)`` -> ``(..., samples / stride, stride)``, zeros at the end."""
        missing = -responses.shape[-1] % self.stride
        return F.pad(responses, (0, missing)).unflatten(-1, (-1, self.stride))

    def trimmed(self) -> UpsamplingSystem:
        """The same without periods of silence before and after all responses."""
        heard = self.by_phase(self.responses).abs().amax((0, 1, 3)).nonzero()[:, 0].tolist()
        first, last = (heard[0], heard[-1]) if heard else (self.before, self.before)
        kept = self.responses[..., first * self.stride : (last + 1) * self.stride]
        return replace(self, responses=kept, before=self.before - first)

    def phase_gains(self) -> Tensor:
        """The steady response to ones without the offsets, ``(out_channels, stride)``.

        Rows that are constant make no tone ([1] Sec. 2).
        """
        return self.by_phase(self.responses.sum(1)).sum(1)

    def low_rate_taps(self) -> Tensor:
        """The filters that make each phase from the input: ``(out, stride, in / groups, taps)``.

        Output sample ``j * stride + r`` is the sum over ``q`` of tap ``q`` of phase ``r`` times
        input sample ``j - (taps - 1 - before) + q``.
        """
        return self.by_phase(self.responses).flip(2).permute(0, 3, 1, 2)
