"""BSS Eval: against museval itself, and what it says where nothing determines the filters."""

import math
import warnings
from unittest import mock

import numpy as np
import pytest
import scipy.signal
import soundfile
import stempeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers.audio import read_wav
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation import _samples as samples_module
from asteroid_upsamplers.evaluation import bss_eval as module
from asteroid_upsamplers.evaluation._arrays import NumPy, Torch
from asteroid_upsamplers.evaluation._filters import solve
from asteroid_upsamplers.evaluation._museval import load_museval
from asteroid_upsamplers.evaluation._samples import FileSamples
from asteroid_upsamplers.evaluation.bss_eval import bss_eval

RATE = 44100
MOST_DB = 100


def musevals(references, estimates, window, hop, taps):
    """The four metrics of museval itself."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        metrics = load_museval().metrics
        return metrics.bss_eval(references, estimates, window, hop, filters_len=taps)[:4]


def assert_as_museval(references, estimates, window, hop, taps, filtered=1e-4):
    """SDR to 1e-9 dB, the others to ``filtered``, and NaN in the same windows.

    What filters make of the references exactly has ratios that are rounding noise: 200 dB or so.
    """
    found = bss_eval(references, estimates, window, hop, taps)
    expected = musevals(references, estimates, window, hop, taps)
    np.testing.assert_allclose(found.SDR, expected[0], rtol=0, atol=1e-9)
    for mine, theirs in zip(found[1:4], expected[1:], strict=True):
        pair = (np.minimum(values, MOST_DB) for values in (mine, theirs))
        np.testing.assert_allclose(*pair, rtol=0, atol=filtered)
    return found


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


def estimates_of(references, turn=0):
    """Each source by another kind of estimate; ``turn`` says which source gets which."""
    others = np.roll(references, 1, axis=0)
    filtered = scipy.signal.lfilter(*scipy.signal.butter(2, 0.3), references, axis=1)
    kinds = [
        references + noise(*references.shape) * references.std(axis=(1, 2), keepdims=True),
        filtered + 0.01 * others,
        np.broadcast_to(references.sum(axis=0), references.shape),
        references[..., ::-1] + 0.3 * others,
    ]
    chosen = [kinds[(n + turn) % len(kinds)][n] for n in range(len(references))]
    return np.stack(chosen)


def real(path, seconds):
    """The four stems of a song with 16 bits, as ``prepare`` writes them."""
    stems = stempeg.read_stems(str(path), stem_id=[1, 2, 3, 4], duration=seconds)[0]
    return np.round(np.asarray(stems, dtype=float) * 2**15) / 2**15


def test_as_museval_on_real_songs(real_songs):
    """All three test songs, every kind of estimate of every song, with short filters."""
    paths = sorted((real_songs / "test").glob("*.stem.mp4"))
    assert paths
    for turn, path in enumerate(paths):
        references = real(path, seconds=4)
        assert_as_museval(references, estimates_of(references, turn), RATE, RATE, 48)


@pytest.mark.slow
def test_as_museval_on_whole_real_songs(real_songs):
    for turn, path in enumerate(sorted((real_songs / "test").glob("*.stem.mp4"))):
        references = real(path, seconds=20)
        assert_as_museval(references, estimates_of(references, turn), RATE, RATE, 512)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    taps=st.integers(1, 64),
    length=st.integers(0, 3000),
    window=st.one_of(st.integers(1, 5000), st.floats(1, 5000), st.just(math.inf)),
    hop=st.floats(300, 5000),
    silent=st.booleans(),
    turn=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_as_museval_on_noise(shape, taps, length, window, hop, silent, turn, seed):
    (sources, channels), length = shape, 4 * math.prod(shape) * taps + 400 + length
    references = noise(sources, length, channels, seed=seed)
    if silent:  # one source in part of the song
        references[0, length // 3 : length // 2] = 0
    assert_as_museval(references, estimates_of(references, turn), window, hop, taps, 1e-5)


def test_channels_that_add_up_to_zero_are_silent_as_museval_has_it():
    references = noise(2, 3000, 2)
    estimates = estimates_of(references)
    estimates[1, 1000:2000, 1] = -estimates[1, 1000:2000, 0]
    found = assert_as_museval(references, estimates, 500, 500, 4)
    assert np.isnan(found.SDR).tolist() == [[False] * 2 + [True] * 2 + [False] * 2] * 2


def test_torch_threads_lists_and_single_precision_give_the_same():
    references = noise(3, 20000, 2).astype(np.float32)
    estimates = estimates_of(references.astype(float)).astype(np.float32)
    expected = bss_eval(references.astype(float), estimates.astype(float), 1000, 900, 16)
    assert np.isfinite(expected[:4]).all()
    with mock.patch.object(module, "NumPy", return_value=Torch(torch.device("cpu"))):
        on_torch = bss_eval(references, estimates, 1000, 900, 16)
    in_threads = bss_eval(list(references), list(estimates), 1000, 900, 16, threads=2)
    for found in (on_torch, in_threads):
        assert found.reliable
        np.testing.assert_allclose(found[:4], expected[:4], rtol=0, atol=1e-6)
    alone = bss_eval(references, estimates, 1000, 900, sdr_only=True)
    np.testing.assert_allclose(alone.SDR, expected.SDR, rtol=0, atol=1e-12)
    assert np.isnan(alone[1:4]).all()


def test_songs_may_stay_in_their_files(tmp_path):
    """Of which no more is read at once than some windows and blocks."""
    pair = [noise(2, 20000, 2, seed=seed).astype(np.float32) for seed in (0, 1)]
    in_files, lengths = [], []
    for number, sources in enumerate(pair):
        paths = [tmp_path / f"{number}_{source}.wav" for source in range(2)]
        for path, samples in zip(paths, sources, strict=True):
            soundfile.write(path, samples, 8000, subtype="FLOAT")
        in_files.append([FileSamples(path) for path in paths])

    def read(path, start, stop):
        lengths.append(stop - start)
        return read_wav(path, start, stop)

    with mock.patch.multiple(samples_module, read_wav=read, BLOCK=4000):
        found = bss_eval(*in_files, 1000, 900, 16)
    expected = bss_eval(*pair, 1000, 900, 16)
    np.testing.assert_array_equal(found[:4], expected[:4])
    assert max(lengths) < 20000


@pytest.mark.parametrize("arrays", [NumPy(), Torch(torch.device("cpu"))], ids=["numpy", "torch"])
def test_a_singular_matrix_is_solved_by_least_squares(arrays):
    """Two equal channels and one tap: elimination meets 256 - 256, and no other pivot."""
    (found,) = solve(np.full((2, 3, 1), 256.0), 1.0, arrays)  # nor is there a second set of filters
    np.testing.assert_allclose(found, np.full((2, 1, 1), 0.5), atol=1e-12)


def band_limited(references):
    """Without any energy above a quarter of the rate, but for rounding."""
    spectra = np.fft.rfft(references, axis=1)
    spectra[:, spectra.shape[1] // 2 :] = 0
    return np.fft.irfft(spectra, references.shape[1], axis=1)


def with_equal_channels(references):
    return np.repeat(references[..., :1], 2, axis=2)


SONGS = {  # and whether their references determine the filters
    "noise": (noise(2, 40000, 2), True),
    "quiet noise": (1e-5 * noise(2, 40000, 2), True),
    "a band": (band_limited(noise(2, 40000, 2)), False),
    "a band, and a floor": (band_limited(noise(2, 40000, 2)) + 1e-3 * noise(2, 40000, 2), True),
    "equal channels": (with_equal_channels(noise(2, 40000, 2)), False),
}


@pytest.mark.parametrize("song", SONGS)
def test_unreliable_are_songs_of_which_inaudible_noise_moves_the_scores(song):
    """The prediction, to first order, says what noise really does."""
    references, reliable = SONGS[song]
    estimates = references + 0.1 * references[::-1] + 0.05 * noise(*references.shape, seed=1)
    found = bss_eval(references, estimates, 4000, 4000, 64)
    assert found.reliable == reliable
    if song == "equal channels":  # noise would be a new direction that no estimate has anything of
        return
    hiss = 1e-6 * np.abs(references).max() * noise(*references.shape, seed=2) / 0.1
    moved = bss_eval(references + hiss, estimates, 4000, 4000, 64)
    moves = np.abs(np.median(moved[:4], axis=-1) - np.median(found[:4], axis=-1))
    assert moves[0].max() < 1e-3
    assert (moves[1:].max() < module.MOST_DB) == reliable


GOOD = noise(2, 100, 2)
BROKEN = GOOD.copy()
BROKEN[1, 50] = math.nan
SILENT = np.stack([GOOD[0], GOOD[1] * 0])
REFUSED = {  # arguments after the references, and words of the message
    "lengths": ((GOOD[:, :-1],), "must have the same shape"),
    "channels": ((GOOD[..., :1],), "must have the same shape"),
    "counts": ((GOOD[:1],), "must have the same shape"),
    "NaN": ((BROKEN,), "estimate 1 has NaN or infinite samples"),
    "silence": ((SILENT,), "estimate 1 is silent throughout"),
    "window": ((GOOD, 0.5), "window 0.5 must be at least 1"),
    "window of NaN": ((GOOD, math.nan), "window nan must be at least 1"),
    "hop": ((GOOD, 10, 0), "hop 0 above 0"),
    "endless hop": ((GOOD, 10, math.inf), "hop is infinite"),
    "filters": ((GOOD, 10, 10, 0), "filters_len 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_one_line(case):
    arguments, words = REFUSED[case]
    with pytest.raises(UsageError, match=words) as caught:
        bss_eval(GOOD, *arguments)
    assert "\n" not in str(caught.value)


def test_sources_without_samples_are_refused():
    for empty in (GOOD[:, :0], GOOD[:0], GOOD[..., :0]):
        with pytest.raises(UsageError, match="at least one sample"):
            bss_eval(empty, empty)
