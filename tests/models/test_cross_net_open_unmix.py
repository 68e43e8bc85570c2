"""X-UMX against Asteroid's own forward, with the transforms that it was written for."""

import pytest
import torch
from asteroid.models.x_umx import BrokenXUMX

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import CrossNetOpenUnmix
from tests import contracts

SMALL = {"hidden_size": 8, "n_layers": 1, "n_fft": 512, "hop_length": 128, "max_bin": 200}


def small(**more):
    torch.manual_seed(0)
    return CrossNetOpenUnmix(**{**SMALL, **more})


@pytest.fixture
def old_transforms(monkeypatch):
    """torch's transforms as they once were: complex numbers as pairs of real ones."""
    stft, istft = torch.stft, torch.istft

    def paired(*args, return_complex, **options):
        return torch.view_as_real(stft(*args, return_complex=True, **options))

    def from_pairs(x, **options):
        return istft(torch.view_as_complex(x.contiguous()), **options)

    def switch():
        monkeypatch.setattr(torch, "stft", paired)
        monkeypatch.setattr(torch, "istft", from_pairs)

    return switch


def test_asteroids_weights_give_asteroids_output(old_transforms):
    torch.manual_seed(1)
    names = ["vocals", "drums", "other"]
    theirs = BrokenXUMX(
        names, 512, 512, 128, 8, 2, 44100, 1, max_bin=200, return_time_signals=True
    ).eval()
    ours = small(sources=names).eval()
    ours.load_state_dict(theirs.state_dict())
    wav = 0.1 * torch.randn(2, 2, 4096)
    with torch.no_grad():
        found = ours(wav)
        old_transforms()
        _, expected = theirs(wav)
    torch.testing.assert_close(found, expected.transpose(0, 1), atol=1e-6, rtol=1e-5)


def test_masks_of_ones_give_the_mixture_back():
    model, wav = small().eval(), torch.randn(2, 2, 3000)
    model.network.forward_masker = lambda x: x.new_ones(4, *x.shape)
    torch.testing.assert_close(model(wav), wav[:, None].expand(-1, 4, -1, -1), atol=1e-5, rtol=0)


def test_contracts():
    contracts.model_round_trip(small().eval())
    contracts.model_keeps_length(small().eval(), [1, 100, 513, 2000])
    contracts.model_learns(small(sources=("a", "b"), audio_channels=1))


def test_silence_is_silent():
    assert not small().eval()(torch.zeros(1, 2, 3000)).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"audio_channels": 3}, "audio_channels is 3, allowed is 1 or 2"),
        ({"hidden_size": 7}, "hidden_size is 7, allowed is an even number"),
        ({"max_bin": 300}, "max_bin is 300, allowed is up to the 257 bins"),
        ({"hop_length": 400}, "hop_length is 400, allowed is up to half of n_fft"),
        ({"n_layers": 0}, "n_layers is 0, allowed is 1 and up"),
        ({"sources": ()}, "sources is empty"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        small(**settings)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, 2, time >= 1\) is needed"):
        small()(torch.zeros(1, 1, 100))
