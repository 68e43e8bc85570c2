"""The paper's statements about its figures, on the numbers behind ours; and what is seen of them.

Expected values are closed forms: phase sums of the weights, and responses of the kernels.
"""

import json

import numpy as np
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.figures import FIGURES, render_figures
from asteroid_upsamplers.figures.render import draw_panels, music_at_4_khz
from asteroid_upsamplers.figures.stacks import noise
from asteroid_upsamplers.probe.spectrogram import Panel

ABSENT_DB = -200
"""A tone below this is none, in float64."""


@pytest.mark.slow
def test_figure_1_tones_of_untrained_networks_and_a_valley():
    numbers = FIGURES[1].compute(seed=0)["numbers"]
    for title in ("(a) MelGAN", "(b) Demucs: original", "(d) Demucs: subpixel CNN"):
        assert min(numbers[title]["prominence_db"].values()) > 30
    assert numbers["(b) Demucs: original"]["valley_db"] > -5
    nearest = numbers["(c) Demucs: nearest neighbor"]
    assert nearest["valley_db"] < -20
    assert max(nearest["prominence_db"].values()) < 3


@pytest.mark.parametrize(
    ("number", "output", "tonal_fraction", "edge_samples"),
    [
        (2, [0.2, 0.3, -0.01] * 2, 1 - (0.49 / 3) ** 2 / (0.1301 / 3), [0, 0]),
        (3, [1, 1, 2, 1, 2, 1, 2, 1, 1], 0.1, [1, 1]),
        (4, [1, 2, 3, 3, 3, 3, 2, 1], 0, [2, 2]),
    ],
)
def test_figures_2_to_4_sample_by_sample(number, output, tonal_fraction, edge_samples):
    arrays = FIGURES[number].compute()
    ((title, numbers),) = arrays["numbers"].items()
    np.testing.assert_allclose(arrays["outputs"][title], output, atol=1e-12)
    assert numbers["tonal_fraction"] == pytest.approx(tonal_fraction, abs=1e-6)
    assert numbers["edge_samples"] == edge_samples


def test_figure_5_ones_make_tones_with_partial_overlap_only():
    numbers = FIGURES[5].compute(seed=0)["numbers"]
    # phase sums 2, 2, 1, 1: mean 1.5, mean square 2.5
    assert numbers["partial overlap, ones"]["tonal_fraction"] == pytest.approx(0.1)
    assert max(numbers["full overlap, ones"]["levels_db"]) < ABSENT_DB
    for row in ("partial overlap, random", "full overlap, random"):
        assert max(numbers[row]["levels_db"]) > -20
    edges = [row["edge_samples"] for row in numbers.values()]
    assert edges == [[2, 2], [2, 2], [4, 4], [4, 4]]


def test_figure_6_interpolation_attenuates_and_makes_no_tones():
    numbers = FIGURES[6].compute(seed=0, music=noise(1).numpy())["numbers"]
    for level in (1, 2, 3):
        nearest, linear = (numbers[f"{name}, layer {level}"] for name in ("nearest", "linear"))
        assert -13.5 < linear["high_band_db"] - nearest["high_band_db"] < -5
        assert linear["valley_db"] < nearest["valley_db"] < -14
        assert max(nearest["variation_for_ones"], linear["variation_for_ones"]) < 1e-9


@pytest.mark.parametrize(("number", "title"), [(7, "layer {}"), (8, "transposed CNN: layer {}")])
def test_figures_7_and_8_tones_and_their_replicas(number, title):
    """At 4, 8 and 16 kHz, with replicas at 8, 12 and 16 kHz; levels are those of the weights."""
    numbers = FIGURES[number].compute(seed=0)["numbers"]
    for level, lines in ((1, [4000]), (2, [4000, 8000]), (3, [4000, 8000, 12000, 16000])):
        found = numbers[title.format(level)]
        assert list(found["measured_db"]) == [str(line) for line in lines]
        assert all(-80 < value <= 0 for value in found["measured_db"].values())
        assert found["predicted_db"] == pytest.approx(found["measured_db"], abs=1e-3)
    own = numbers[title.format(3)]["own"]
    assert own == {"4000": False, "8000": False, "12000": False, "16000": True}


def test_figure_8_valleys_of_linear_interpolation():
    """At multiples of 4 kHz; high bands as the squared sinc, and for nearest the sinc, has them."""
    numbers = FIGURES[8].compute(seed=0)["numbers"]
    for level, linear_db, nearest_db in ((1, -14.65, -6.54), (3, -25.9, -13.85)):
        linear, nearest = (numbers[f"{name}: layer {level}"] for name in ("linear", "nearest"))
        assert list(linear["valleys_db"]) == [str(4000 * k) for k in range(1, 2 ** (level - 1) + 1)]
        assert max(linear["valleys_db"].values()) < -40
        assert linear["high_band_db"] == pytest.approx(linear_db, abs=0.5)
        assert nearest["high_band_db"] == pytest.approx(nearest_db, abs=0.5)
        assert linear["top_db"] < nearest["top_db"]


@pytest.mark.slow
def test_figure_9_tones_far_below_the_originals():
    """They are not gone; how far they fall depends on the width."""
    numbers = FIGURES[9].compute(seed=0)["numbers"]
    drops = list(numbers.pop("drop_by_channels_db").values())
    assert drops == sorted(drops, reverse=True)
    assert drops[0] > 40 and drops[-1] < 30
    for panel in numbers.values():
        assert panel["prominence_db"]["11025"] < 15
        assert panel["drop_db"]["11025"] > 20


def test_figure_10_padding_adds_energy_to_the_first_frame():
    numbers = FIGURES[10].compute(seed=0)["numbers"]
    for level in (1, 2, 3):
        without, padded = (numbers[f"layer {level}, center={c}"] for c in (False, True))
        assert without["first_frame_off_lines_db"] < -115
        assert padded["first_frame_off_lines_db"] > -70
        assert without["frames"] == padded["frames"] - 4
    left = [numbers[f"layer {k}, center=False"]["seconds_after_the_last_frame"] for k in (1, 2, 3)]
    assert left == sorted(left, reverse=True)  # "white stripes are wider in layers 1 and 2"


def seen_levels(drawing, place):
    """The levels in dB that the colours of an image stand for: median of each row, from below."""
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3].astype(float)
    box, image = place.get_window_extent(), place.images[0]
    middle = round((box.x0 + box.x1) / 2)
    rows = pixels[round(box.y0) : round(box.y1), middle - 5 : middle + 5]
    colours = image.cmap(np.linspace(0, 1, 256))[:, :3] * 255
    index = np.abs(rows[:, :, None] - colours).sum(-1).argmin(-1)
    return image.norm.vmin + np.median(index, axis=1) / 255 * (image.norm.vmax - image.norm.vmin)


@pytest.mark.parametrize("line", [0, 677, 1024])
def test_a_line_of_one_bin_is_seen_at_its_level_and_place(line):
    levels = np.full((1025, 40), -120.0)
    levels[line] = -30.0
    drawing = Figure(figsize=(7, 3.4), dpi=110, layout="constrained")
    axes = drawing.subplots(squeeze=False)
    draw_panels(axes, {"panels": {"line": Panel(levels, 8000)}})
    seen = seen_levels(drawing, axes[0, 0])
    (rows,) = np.nonzero(seen > -40)
    assert 2 <= len(rows) <= 5
    low, high = axes[0, 0].get_ylim()
    place = low + (rows.mean() + 0.5) / len(seen) * (high - low)
    assert place == pytest.approx(line / 1024 * 4000, abs=1.5 * (high - low) / len(seen))


def test_files_hold_the_picture_and_the_numbers(tmp_path):
    written = render_figures([7, 3, 7], tmp_path, seed=3, progress=False)
    names = ["figure3.png", "figure3.json", "figure7.png", "figure7.json"]
    assert [path.name for path in written] == names
    assert written[2].read_bytes().startswith(b"\x89PNG")
    content = json.loads(written[3].read_text())
    first, again, other = (FIGURES[7].compute(seed=seed)["numbers"] for seed in (3, 3, 4))
    assert content == {"figure": 7, "seed": 3, "numbers": first}
    assert first == again != other
    with pytest.raises(UsageError, match="no figure 11: the paper has figures 1 to 10"):
        render_figures([11], tmp_path)


def test_music_of_the_user(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "song.flac", tone, 44100)
    music = music_at_4_khz(tmp_path / "song.flac")
    assert len(music) == pytest.approx(4000, abs=2)
    assert np.abs(np.fft.rfft(music[:4000])).argmax() == 440
    assert len(music_at_4_khz(None)) == 12000
    soundfile.write(tmp_path / "short.wav", tone[:1000], 44100)
    for name, words in (("short.wav", "at least 0.5 s"), ("none.wav", "no such file")):
        with pytest.raises(UsageError, match=words):
            music_at_4_khz(tmp_path / name)
