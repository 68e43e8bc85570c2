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


def _falls():
    """Layers whose rate falls again by a ratio, and the tones that a spectrum of zeros shows."""
    torch.manual_seed(0)
    decimated = nn.Sequential(nn.Conv1d(4, 4, 1), nn.ConvTranspose1d(4, 1, 10, 7), nn.AvgPool1d(4))
    first, last = nn.ConvTranspose1d(4, 4, 12, 8), nn.ConvTranspose1d(4, 1, 9, 6)

    def resampled(x):
        return F.interpolate(last(first(x).tanh()), scale_factor=147 / 160, mode="linear")

    return [(decimated, [16000 * 4], 7), (resampled, [16000 / 5.5125, 16000 / 0.91875], 441)]


@pytest.mark.parametrize("case", [0, 1])
def test_the_rate_may_fall_again_by_a_ratio(case):
    network, rates, period = _falls()[case]
    report = probe(network, 16000, (1, 4, 2000))
    assert [layer.output_rate_hz for layer in report.layers] == pytest.approx(rates)
    with torch.no_grad():
        y = network(torch.zeros(1, 4, 2000)).flatten().double()
    steady = y[len(y) // 4 :][: len(y) // 2 // period * period]
    powers = (torch.fft.rfft(steady - steady.mean()) / len(steady)).abs().square() * 2
    loudest = report.silence.tones[0]
    assert loudest["frequency_hz"] == pytest.approx(16000 * int(powers.argmax()) / len(steady))
    assert loudest["level_db"] == pytest.approx(10 * float(powers.max().log10()), abs=0.1)
    assert report.silence.share_at_predicted_tones > 0.99


def test_the_ratio_of_two_rates_is_found_from_rounded_lengths():
    def resampled(x):
        return torch.relu(F.interpolate(x, size=x.shape[-1] * 160 // 147, mode="linear"))

    report = probe(resampled, 16000, (1, 1, 48001))
    assert [tone["frequency_hz"] for tone in report.noise.present] == pytest.approx([1300])


def test_a_rate_that_only_rises_around_an_activation():
    def network(x):
        return F.avg_pool1d(F.conv_transpose1d(x, torch.ones(1, 1, 2), stride=2).tanh(), 2)

    assert conclusion(probe(network, 16000, (1, 1, 16000))) == "No tones found."


def test_signals_that_are_padded_to_a_multiple_have_the_rates_of_the_others():
    torch.manual_seed(0)
    down, up = nn.Conv1d(1, 4, 1024, 1024), nn.ConvTranspose1d(4, 4, 64, 64)
    last = nn.ConvTranspose1d(4, 1, 16, 16)

    def network(x):
        padded = F.pad(x, (0, -x.shape[-1] % 1024))
        return last(up(down(padded).tanh()).tanh())[..., : x.shape[-1]]

    layers = probe(network, 16000, (1, 1, 9000)).layers
    assert [layer.output_rate_hz for layer in layers] == [1000, 16000]


class InParts(nn.Module):
    """Runs a network on one part of the signal after the other, as long songs are separated."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = nn.Conv1d(1, 4, 8, 4, padding=2), nn.ReLU(), nn.ConvTranspose1d(4, 1, 4, 4)
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        y = torch.zeros_like(x)
        for start in range(0, x.shape[-1], 1000):
            y[..., start : start + 1000] = self.net(x[..., start : start + 1000])
        return y


def test_a_layer_that_runs_on_parts_of_the_signal_is_one():
    report = probe(InParts(), 16000, (1, 1, 16000))
    assert report.attributed_to == ["net.2"]
    assert {layer.output_rate_hz for layer in report.layers} == {16000}
