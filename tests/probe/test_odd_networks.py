"""Networks with noise of their own, that cache, cannot be watched, or give any length."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers.probe import probe
from asteroid_upsamplers.probe.text import conclusion


class Noisy(nn.Module):
    """Repeats samples, and adds noise of its own, the same in each run, and a tone."""

    def __init__(self, tone):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.noise, self.tone = torch.rand(32000, generator=generator), tone

    def forward(self, x):
        y = F.interpolate(x, scale_factor=16)
        comb = torch.arange(y.shape[-1]) % 16 == 0
        return y + self.noise[: y.shape[-1]] + self.tone * comb


def test_noise_of_its_own_is_no_tone():
    expected = {0: "noise", 0.3: "silence"}
    for tone, attributed in expected.items():
        report = probe(Noisy(tone), 16000, (1, 1, 2000))
        assert (report.attributed_tones, report.attributed_to) == (attributed, []), tone
        assert conclusion(report).startswith("Tones in silence" if tone else "Unknown whether"), (
            tone
        )


class Caching(nn.Module):
    """Does other operations in its first run, as codebooks of codecs do."""

    def __init__(self):
        super().__init__()
        self.up, self.gain = nn.ConvTranspose1d(1, 1, 8, 4), None

    def forward(self, x):
        if self.gain is None:
            self.gain = torch.ones(1, 1, 1).exp().log()
        return self.up(x * self.gain + 1)


def test_a_network_that_keeps_what_it_computed_first():
    assert probe(Caching(), 8000, (1, 1, 2000)).attributed_to == ["up"]


class Unwatched(nn.Module):
    """Refuses to run under a dispatch mode."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(1, 1, 8, 4)

    def forward(self, x):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("no modes")
        return self.up(x + 1)


def test_what_cannot_be_watched_or_has_no_length_of_its_own_is_still_examined():
    report = probe(Unwatched(), 8000, (1, 1, 2000))
    assert report.unseen_factor == 4
    assert report.silence.share_at_predicted_tones == pytest.approx(1)
    assert "could not be watched" in report.remarks[0]
    report = probe(
        lambda x: x.repeat(1, 1, 9 + int(1e4 * x.sum().abs()) % 50), 8000, (1, 1, 200), strides=[4]
    )
    assert (report.unseen_factor, report.total_factor) == (None, None)
    assert "depends on what the input is" in report.remarks[0]
