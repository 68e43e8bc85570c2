"""Every sentence of the paper about a figure that can be checked, on the figure's numbers."""

import json

import numpy as np
import pytest

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.figures import FIGURES, render_figures
from asteroid_upsamplers.figures.render import figure, music_at_4_khz

NONE = -200


@pytest.fixture(scope="module")
def computed():
    """Each figure once, when it is first asked for."""
    known = {}

    def compute(number):
        if number not in known:
            known[number] = figure(number).compute(seed=0)
        return known[number]

    return compute


@pytest.mark.slow
def test_figure_1(computed):
    """Tones in MelGAN and in Demucs with transposed and subpixel CNN; a valley in nearest's."""
    numbers = computed(1)["numbers"]
    for title in ("(a) MelGAN", "(b) Demucs: original", "(d) Demucs: subpixel CNN"):
        assert min(numbers[title]["prominence_db"].values()) > 30
    assert numbers["(b) Demucs: original"]["valley_db"] > -5
    nearest = numbers["(c) Demucs: nearest neighbor"]
    assert nearest["valley_db"] < -20
    assert max(nearest["prominence_db"].values()) < 3


def test_figure_2(computed):
    """A periodicity every 3 samples, at the stride: the weights again and again."""
    arrays = computed(2)
    (output,) = arrays["outputs"].values()
    np.testing.assert_allclose(output, [0.2, 0.3, -0.01] * 2)
    (numbers,) = arrays["numbers"].values()
    assert numbers["tonal_fraction"] > 0.3
    assert numbers["border_samples"] == [0, 0]


def test_figure_3(computed):
    """A periodicity every 2 samples from uneven overlap, and borders."""
    arrays = computed(3)
    (output,) = arrays["outputs"].values()
    np.testing.assert_array_equal(output, [1, 1, 2, 1, 2, 1, 2, 1, 1])
    (numbers,) = arrays["numbers"].values()
    assert numbers["tonal_fraction"] == pytest.approx(0.1)
    assert numbers["border_samples"] == [1, 1]


def test_figure_4(computed):
    """Borders, no periodicity, barely upsampled."""
    arrays = computed(4)
    (output,) = arrays["outputs"].values()
    np.testing.assert_array_equal(output, [1, 2, 3, 3, 3, 3, 2, 1])
    (numbers,) = arrays["numbers"].values()
    assert numbers["levels_db"] == []
    assert numbers["border_samples"] == [2, 2]


def test_figure_5(computed):
    """Ones ring with partial overlap only; random filters with both; borders everywhere."""
    numbers = computed(5)["numbers"]
    assert numbers["partial overlap, ones"]["tonal_fraction"] > 0.01
    assert max(numbers["full overlap, ones"]["levels_db"]) < NONE
    for row in ("partial overlap, random", "full overlap, random"):
        assert max(numbers[row]["levels_db"]) > -20
    assert all(min(row["border_samples"]) > 0 for row in numbers.values())


def test_figure_6(computed):
    """Filtering artifacts, no tones; linear attenuates the top of the band more."""
    numbers = computed(6)["numbers"]
    for level in (1, 2, 3):
        nearest, linear = (numbers[f"{name}, layer {level}"] for name in ("nearest", "linear"))
        assert linear["high_band_db"] < nearest["high_band_db"] < 0
        assert linear["valley_db"] < nearest["valley_db"]
        assert nearest["variation_for_ones"] < 1e-9
        assert linear["variation_for_ones"] < 1e-9


@pytest.mark.parametrize(("number", "title"), [(7, "layer {}"), (8, "transposed CNN: layer {}")])
def test_tones_of_figures_7_and_8(computed, number, title):
    """Tones at 4, 8 and 16 kHz, and their replicas at 8, 12 and 16 kHz; as the weights predict."""
    numbers = computed(number)["numbers"]
    for level, lines in ((1, [4000]), (2, [4000, 8000]), (3, [4000, 8000, 12000, 16000])):
        found = numbers[title.format(level)]
        measured = found["measured_db"]
        assert list(measured) == [str(line) for line in lines]
        assert all(value > -80 for value in measured.values())
        for frequency, value in measured.items():
            assert found["predicted_db"][frequency] == pytest.approx(value, abs=1e-3)
    own = numbers[title.format(3)]["own"]
    assert own == {"4000": False, "8000": False, "12000": False, "16000": True}


def test_linear_interpolation_of_figure_8(computed):
    """Valleys at multiples of 4 kHz, deeper than nearest's; linear loses more at the top."""
    numbers = computed(8)["numbers"]
    for level in (1, 2, 3):
        linear, nearest = (numbers[f"{name}: layer {level}"] for name in ("linear", "nearest"))
        assert list(linear["valleys_db"]) == [str(4000 * k) for k in range(1, 2 ** (level - 1) + 1)]
        assert all(depth < -20 for depth in linear["valleys_db"].values())
        assert linear["high_band_db"] < nearest["high_band_db"] - 5
        assert linear["top_db"] < nearest["top_db"]


@pytest.mark.slow
def test_figure_9(computed):
    """Far below the original's tones, not gone; how far depends on the width."""
    numbers = dict(computed(9)["numbers"])
    drops = list(numbers.pop("drop_by_channels_db").values())
    assert drops == sorted(drops, reverse=True)
    assert drops[0] > 40 and drops[-1] < 30
    assert len(numbers) == 2
    for panel in numbers.values():
        assert panel["prominence_db"]["11025"] < 15
        assert panel["drop_db"]["11025"] > 20


def test_figure_10(computed):
    """``center=True`` adds borders in the first frame; frames are fewer without."""
    numbers = computed(10)["numbers"]
    for level in (1, 2, 3):
        left, right = (numbers[f"layer {level}, center={center}"] for center in (False, True))
        assert left["first_frame_off_lines_db"] < -95
        assert right["first_frame_off_lines_db"] > -70
        assert left["frames"] == right["frames"] - 4
    stripes = [
        numbers[f"layer {level}, center=False"]["seconds_after_the_last_frame"]
        for level in (1, 2, 3)
    ]
    assert stripes == sorted(stripes, reverse=True)  # "white stripes are wider in layers 1 and 2"


def test_files(tmp_path):
    written = render_figures([3, 7], tmp_path, progress=False)
    assert [path.name for path in written] == [
        "figure3.png",
        "figure3.json",
        "figure7.png",
        "figure7.json",
    ]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    content = json.loads(written[3].read_text())
    assert content["figure"] == 7
    assert content["numbers"]["layer 1"]["measured_db"]["4000"] < 0


def test_seeds_give_the_same_and_others_others(tmp_path):
    first, again, other = (figure(7).compute(seed=seed)["numbers"] for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_music_of_the_user(tmp_path):
    import soundfile

    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "song.flac", tone, 44100)
    assert len(music_at_4_khz(tmp_path / "song.flac")) == pytest.approx(4000, abs=2)
    assert len(music_at_4_khz(None)) == 12000
    soundfile.write(tmp_path / "short.wav", tone[:1000], 44100)
    for name, words in (("short.wav", "at least 0.5 s"), ("none.wav", "cannot be read")):
        with pytest.raises(UsageError, match=words):
            music_at_4_khz(tmp_path / name)


def test_other_figures_there_are_none(tmp_path):
    with pytest.raises(UsageError, match="no figure 11: the paper has figures 1 to 10"):
        render_figures([11], tmp_path)
    assert list(FIGURES) == list(range(1, 11))
