"""Open-Unmix against its package, and X-UMX against Asteroid's own forward."""

import pytest
import torch
from asteroid.models.x_umx import BrokenXUMX
from openunmix.model import OpenUnmix as TargetModel
from openunmix.model import Separator

from asteroid_upsamplers.models import CrossNetOpenUnmix, OpenUnmix

SMALL = {"hidden_size": 8, "n_layers": 1, "n_fft": 512, "hop_length": 128, "max_bin": 200}
NAMES = ["vocals", "drums", "other"]


def small(cls=OpenUnmix, **more):
    torch.manual_seed(0)
    return cls(**{**SMALL, **more}).eval()


def test_published_size():
    with torch.device("meta"):
        model = OpenUnmix()
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert learned == 4 * 8_893_348  # the package's windows are parameters, but fixed


@pytest.mark.parametrize("iterations", [0, 2])
def test_weights_of_the_package_give_the_same_output(iterations):
    torch.manual_seed(1)
    targets = {name: TargetModel(257, 2, 8, 1, max_bin=200) for name in NAMES}
    theirs = Separator(targets, niter=iterations, n_fft=512, n_hop=128, nb_channels=2).eval()
    ours = small(sources=NAMES, wiener_iterations=iterations)
    ours.load_state_dict(theirs.state_dict())
    wav = 0.1 * torch.randn(2, 2, 5000)
    with torch.no_grad():
        torch.testing.assert_close(ours(wav), theirs(wav), atol=1e-6, rtol=1e-6)


def test_the_filter_follows_in_evaluation_only():
    model, wav = small(), 0.1 * torch.randn(1, 2, 4000)
    with torch.no_grad():
        separating, plain = model(wav), small(wiener_iterations=0)(wav)
        model.training = True  # its normalisations stay in evaluation mode
        torch.testing.assert_close(model(wav), plain)
    assert not torch.allclose(plain, separating, atol=1e-4)
    torch.testing.assert_close(separating.sum(1), wav, atol=1e-3, rtol=0)


def test_silence_stays_finite_and_one_source_needs_no_filter():
    assert small()(torch.zeros(1, 2, 3000)).isfinite().all()
    assert not small(CrossNetOpenUnmix)(torch.zeros(1, 2, 3000)).any()
    assert small(sources=("vocals",))(torch.randn(1, 2, 3000)).shape == (1, 1, 2, 3000)


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
    theirs = BrokenXUMX(
        NAMES, 512, 512, 128, 8, 2, 44100, 1, max_bin=200, return_time_signals=True
    ).eval()
    ours = small(CrossNetOpenUnmix, sources=NAMES)
    ours.load_state_dict(theirs.state_dict())
    wav = 0.1 * torch.randn(2, 2, 4096)
    with torch.no_grad():
        found = ours(wav)
        old_transforms()
        _, expected = theirs(wav)
    torch.testing.assert_close(found, expected.transpose(0, 1), atol=1e-6, rtol=1e-5)
