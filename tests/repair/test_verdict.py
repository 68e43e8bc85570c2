"""The verdict: against networks whose change, tones and SDR are known beforehand."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from asteroid_upsamplers import layers, repair
from asteroid_upsamplers.repair import excerpts
from asteroid_upsamplers.repair.judge import Judge
from asteroid_upsamplers.repair.search import search
from asteroid_upsamplers.repair.verdict import estimated_cost

RATE = 8000
SHAPE = (1, 1, 2 * RATE)


class Held(nn.Module):
    """Every second sample, twice, by a layer without tones; and a gain for each source."""

    sources = ("drums", "bass")
    in_channels = 1

    def __init__(self, gains=(1.0, 1.0)):
        super().__init__()
        self.layer = layers.Transposed(1, 1, stride=2, kernel_size=2, bias=False)
        nn.init.ones_(self.layer.weight)
        self.gains = nn.Parameter(torch.tensor(gains))

    def forward(self, x):
        return self.layer(x[..., ::2])[:, None] * self.gains[:, None, None]


class Offsets(nn.Module):
    """A subpixel layer whose biases make a tone of silence."""

    def __init__(self, biases):
        super().__init__()
        self.layer = layers.Subpixel(1, 1, stride=2, kernel_size=1)
        nn.init.ones_(self.layer.weight)
        self.layer.bias.data = torch.tensor(biases)

    def forward(self, x):
        return self.layer(x)


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_gain_is_a_change_of_known_size():
    verdict = repair.judge(Held(), Held((1.1, 1.1)), RATE, SHAPE, [noise(0, *SHAPE)])
    assert verdict.snr_db == pytest.approx(20, abs=1e-3)
    assert verdict.log_spectral_distance_db == pytest.approx(20 * math.log10(1.1), abs=0.01)
    assert (verdict.verdict, verdict.judged_on) == ("costs", "audio")
    assert verdict.cost_db == estimated_cost(verdict.snr_db) == pytest.approx(0.135, abs=1e-3)
    assert "the cost is an estimate" in verdict.remarks[-1]
    same = repair.judge(Held(), Held(), RATE, SHAPE)
    assert (same.verdict, same.snr_db, same.judged_on) == ("safe", 400.0, "noise")
    assert repair.judge(Held(), Held((2.0, 1.0)), RATE, SHAPE).verdict == "needs distillation"


def test_tones_before_and_after():
    """Biases of +-a are a tone of a**2."""
    original, worse = Offsets([0.01, -0.01]), Offsets([0.1, -0.1])
    repaired = repair.repair(original).network
    verdict = repair.judge(original, repaired, RATE, SHAPE)
    silence = verdict.tones[0]
    assert (silence.where, silence.after_db) == ("silence", -400.0)
    assert silence.before_db == pytest.approx(-40, abs=1e-3)
    assert [layer.tonal_after for layer in verdict.layers] == [pytest.approx(0, abs=1e-12)]
    verdict = repair.judge(original, worse, RATE, SHAPE)
    assert verdict.verdict == "needs distillation"
    assert any("tones louder: in silence by 20.0 dB" in remark for remark in verdict.remarks)
    verdict = repair.judge(worse, copy.deepcopy(worse), RATE, SHAPE)
    assert any("tones did not fall" in remark for remark in verdict.remarks)


def test_what_is_judged_is_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "JUDGED_SECONDS", 10)
    np.save(tmp_path / "ramp.npy", np.arange(1, 100 * RATE + 1)[None])
    feed = Judge(Held(), RATE, (1, 1, RATE)).feed
    found = excerpts.read_excerpts([tmp_path / "ramp.npy"], feed, RATE)
    seconds = [[int(e.input[0, 0, 0]) // RATE for e in half] for half in found]
    assert seconds == [list(range(50)), list(range(50, 100, 5))]


@pytest.mark.parametrize(
    ("lengths", "excerpt", "count"),
    [
        ((30_000, 100), 8000, 3),
        ((9000, 300, 200), 4500, 2),
        ((3000, 4000, 5000, 6000, 7000), 5000, 3),
    ],
)
def test_one_short_or_long_file_does_not_decide_how_excerpts_are_cut(
    tmp_path, lengths, excerpt, count
):
    paths = [tmp_path / f"{length}.npy" for length in lengths]
    for path, length in zip(paths, lengths, strict=True):
        np.save(path, np.ones((1, length)))
    halves = excerpts.read_excerpts(paths, Judge(Held(), RATE, (1, 1, RATE)).feed, RATE)
    found = [e.input.shape[-1] for half in halves for e in half]
    assert found == [excerpt] * count


def song_set(root, songs=1):
    """Sources of which :class:`Held` keeps every sample; the first song is silent for a second."""
    for index in range(songs):
        folder = root / "test" / f"song{index}"
        folder.mkdir(parents=True)
        sources = 0.1 * noise(index, 2, 2 * RATE).repeat_interleave(2, -1).numpy()
        sources[0, :RATE] = 0 if index == 0 else sources[0, :RATE]
        for name, samples in zip(
            (*Held.sources, "mixture"), (*sources, sources.sum(0)), strict=True
        ):
            soundfile.write(folder / f"{name}.wav", samples, RATE, "FLOAT")
    return root


def sdr_of(root, gains):
    """By its definition, song by song."""
    found = []
    for folder in sorted((root / "test").iterdir()):
        mixture, *sources = (
            soundfile.read(folder / f"{name}.wav")[0].reshape(-1, RATE)
            for name in ("mixture", *Held.sources)
        )
        rows = []
        for source, gain in zip(sources, gains, strict=True):
            power, error = (source**2).sum(1), ((gain * mixture - source) ** 2).sum(1)
            heard = (sources[0] ** 2).sum(1) > 0  # museval scores no window with a silent source
            rows.append(np.median(10 * np.log10(power[heard] / error[heard])))
        found.append(np.mean(rows))
    return np.array(found)


def test_songs_with_true_sources(tmp_path):
    root, gains = song_set(tmp_path, songs=7), (0.6, 0.5)
    verdict = repair.judge(Held(), Held(gains), RATE, SHAPE, songs=root)
    before, after = sdr_of(root, (1.0, 1.0)), sdr_of(root, gains)
    assert [song["sdr_before_db"] for song in verdict.songs] == pytest.approx(before, abs=1e-3)
    assert [song["sdr_after_db"] for song in verdict.songs] == pytest.approx(after, abs=1e-3)
    assert verdict.sdr.mean_db == pytest.approx((after - before).mean(), abs=1e-3)
    assert verdict.sdr.low_db < verdict.sdr.mean_db < verdict.sdr.high_db
    # the output changes a lot, and for the better: that is no cost where it can be measured
    assert (verdict.judged_on, verdict.verdict, verdict.sdr.songs) == ("songs", "safe", 7)


@pytest.mark.parametrize("silent", [1, 2])
def test_a_source_that_is_silent_throughout_has_no_sdr(tmp_path, silent):
    root = song_set(tmp_path)
    for name in Held.sources[:silent]:
        soundfile.write(root / f"test/song0/{name}.wav", np.zeros(4 * RATE), RATE, "FLOAT")
    (song,) = repair.judge(Held(), Held((0.6, 0.5)), RATE, SHAPE, songs=root).songs
    assert (song["sdr_before_db"] is None) == (silent == 2)


def test_search_takes_no_layer_that_is_not_needed():
    """The second of two layers has equal phases already."""
    torch.manual_seed(0)
    offset = nn.Conv1d(1, 1, 1)
    first = layers.Transposed(1, 4, stride=2, kernel_size=4)
    second = layers.Subpixel(4, 1, stride=2, kernel_size=3)
    with torch.no_grad():
        second.weight.copy_(repair.repair(second).network.weight)
        second.bias.zero_()
    network = nn.Sequential(offset, first, second)
    judge = Judge(network, RATE, (1, 1, RATE))
    best, trials = search(judge, ["1", "2"], partial(repair.repair, network))
    assert {tuple(trial.layers) for trial in trials} == {("1",), ("1", "2")}
    assert {trial.order for trial in trials} == {0, 1}
    assert [layer.name for layer in best.report.layers if layer.status == "repaired"] == ["1"]
    assert best.verdict.tones[0].after_db < -120 < best.verdict.tones[0].before_db
