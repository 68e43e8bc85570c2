"""The paper's statements about its figures, on the numbers behind ours; and what is seen of them.

Expected values are closed forms: phase sums of the weights, and responses of the kernels.
"""

import base64
import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
import soundfile
from matplotlib.figure import Figure
from scipy.spatial import KDTree

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.figures import FIGURES, render_figures
from asteroid_upsamplers.figures.render import draw_figure, draw_panels, music_at_4_khz
from asteroid_upsamplers.figures.stacks import noise
from asteroid_upsamplers.probe.spectrogram import Panel

ABSENT_DB = -200
"""A tone below this is none, in float64."""


@pytest.mark.slow
def test_figure_1_tones_of_untrained_networks_and_a_valley():
    arrays = FIGURES[1].compute(seed=0)
    numbers = arrays["numbers"]
    for title in ("(a) MelGAN", "(b) Demucs: original", "(d) Demucs: subpixel CNN"):
        assert min(numbers[title]["prominence_db"].values()) > 30
        assert arrays["panels"][title].tones == list(map(float, numbers[title]["prominence_db"]))
    assert numbers["(b) Demucs: original"]["valley_db"] > -5
    nearest = numbers["(c) Demucs: nearest neighbor"]
    assert nearest["valley_db"] < -20
    assert max(nearest["prominence_db"].values()) < 3
    assert not arrays["panels"]["(c) Demucs: nearest neighbor"].tones  # no marks at valleys


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
    arrays = FIGURES[number].compute(seed=0)
    numbers = arrays["numbers"]
    for level, lines in ((1, [4000]), (2, [4000, 8000]), (3, [4000, 8000, 12000, 16000])):
        found = numbers[title.format(level)]
        assert list(found["measured_db"]) == [str(line) for line in lines]
        assert arrays["panels"][title.format(level)].tones == lines
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
    arrays = FIGURES[9].compute(seed=0)
    numbers = arrays["numbers"]
    assert not any(panel.tones for panel in arrays["panels"].values())
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


def seen_levels(picture, image):
    """The levels in dB that the colours of an image's pixels stand for, ``(rows, columns)``.

    ``picture``: of the whole drawing, ``(rows, columns, 3 or 4)``, 0 to 255, rows from above.
    """
    drawing, box = image.axes.figure, image.axes.get_window_extent()
    scale = picture.shape[1] / drawing.bbox.width
    left, bottom, right, top = (round(float(edge) * scale) for edge in box.extents)
    pixels = picture[::-1, :, :3][bottom:top, left:right].astype(float)
    colours = image.cmap(np.linspace(0, 1, 121))[:, :3] * 255
    distance, index = KDTree(colours).query(pixels)
    levels = image.norm.vmin + index / 120 * (image.norm.vmax - image.norm.vmin)
    return np.where(distance < 30, levels, np.nan)  # what is no colour of the image is white


def drawn(levels, dpi=110, form="png", **settings):
    """The pixels of a panel's picture from a file, with its image and axes limits."""
    drawing = Figure(figsize=(7, 3.4), dpi=dpi, layout="constrained")
    axes = drawing.subplots(squeeze=False)
    draw_panels(axes, {"panels": {"": Panel(levels, 8000, **settings)}})
    buffer = io.BytesIO()
    drawing.savefig(buffer, format=form)
    return buffer.getvalue(), axes[0, 0].images[0]


@pytest.mark.parametrize(
    ("line", "dpi"), [(0, 110), (512, 30), (677, 110), (1024, 30), (1024, 300)]
)
def test_a_line_of_one_bin_is_seen_at_its_level_and_place(line, dpi):
    levels = np.full((1025, 40), -120.0)
    levels[line] = -30.0
    data, image = drawn(levels, dpi)
    seen = seen_levels(np.array(PIL.Image.open(io.BytesIO(data))), image)
    seen = np.nanmedian(seen, axis=1)
    (rows,) = np.nonzero(np.abs(seen + 30) <= 2)
    assert max(2, dpi / 50) <= len(rows) <= max(5, dpi / 20)
    low, high = image.axes.get_ylim()
    place = low + (rows.mean() + 0.5) / len(seen) * (high - low)
    assert place == pytest.approx(line / 1024 * 4000, abs=2 * (high - low) / len(seen))


@pytest.mark.parametrize("frame", [0, 7777, 19999])
@pytest.mark.parametrize("center", [False, True])
def test_a_click_in_a_long_recording_is_seen_at_its_time(frame, center):
    levels = np.full((65, 20000), -120.0)
    levels[:, frame] = -30.0
    data, image = drawn(levels, center=center)
    seen = seen_levels(np.array(PIL.Image.open(io.BytesIO(data))), image)
    (columns,) = np.nonzero(np.abs(np.nanmedian(seen, axis=0) + 30) <= 2)
    assert len(columns) <= 4
    left, right = image.axes.get_xlim()
    seconds = left + (columns.mean() + 0.5) / seen.shape[1] * (right - left)
    assert seconds == pytest.approx(frame * 32 / 8000, abs=2 * (right - left) / seen.shape[1])


def test_lines_and_valleys_are_seen_in_vector_files_and_none_is_made_up():
    levels = np.full((1025, 3000), -60.0)
    levels[700], levels[300:320] = -20.0, -110.0
    svg, image = drawn(levels, form="svg")
    embedded = re.search(rb"data:image/png;base64,([^\"]+)", svg)[1]
    colours = np.array(PIL.Image.open(io.BytesIO(base64.b64decode(embedded))))[:, 100, :3]
    seen = {tuple(map(int, colour)) for colour in colours}
    assert seen == {image.cmap(image.norm(db), bytes=True)[:3] for db in (-60.0, -20.0, -110.0)}


@pytest.mark.parametrize("number", [7, 8, 10])
def test_pictures_show_tones_up_to_half_the_rate_and_white_where_no_frame_begins(number):
    """In Fig. 10, "white stripes are wider in layers 1 and 2"."""
    drawing, _ = draw_figure(number)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png")
    plt.close(drawing)
    picture = np.array(PIL.Image.open(buffer))
    places = [axes for axes in drawing.axes if axes.images and "linear" not in axes.get_title()]
    for axes in places:
        image, (low, high), (left, right) = axes.images[0], axes.get_ylim(), axes.get_xlim()
        seen = seen_levels(picture, image)
        rows = np.nanmedian(seen, axis=1)
        rate = 2 * round(sum(axes.get_ylim()))
        for line in range(0, rate // 2 + 1, 4000):
            row = round((line - low) / (high - low) * len(rows))
            level = np.median(np.asarray(image.get_array())[round(line / rate * 2048) + 6])
            assert rows[max(0, row - 4) : row + 4].max() == pytest.approx(level, abs=2)
        white = np.isnan(seen).all(axis=0).mean() * (right - left)
        expected = 0 if "center=True" in axes.get_title() else (2048 - 512) / rate
        assert white == pytest.approx(expected, abs=2 / seen.shape[1] * (right - left))
    assert len(places) == {7: 4, 8: 3, 10: 6}[number]


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
