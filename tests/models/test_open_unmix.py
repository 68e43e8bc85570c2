"""Open-Unmix as an Asteroid model, against the package itself."""

import pytest
import torch
from openunmix.model import OpenUnmix as TargetModel
from openunmix.model import Separator

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import OpenUnmix
from tests import contracts

SMALL = {"hidden_size": 8, "n_layers": 1, "n_fft": 512, "hop_length": 128, "max_bin": 200}


def small(**more):
    torch.manual_seed(0)
    return OpenUnmix(**{**SMALL, **more})


def test_published_size():
    with torch.device("meta"):
        model = OpenUnmix()
        single = OpenUnmix(sources=("vocals",))
    for network, targets in ((single, 1), (model, 4)):
        learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        assert learned == targets * 8_893_348  # the package's windows are parameters, but fixed


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_weights_of_the_package_give_the_same_output(iterations):
    torch.manual_seed(1)
    names = ("vocals", "drums", "other")
    targets = {name: TargetModel(257, 2, 8, 1, max_bin=200) for name in names}
    theirs = Separator(targets, niter=iterations, n_fft=512, n_hop=128, nb_channels=2).eval()
    ours = small(sources=names, wiener_iterations=iterations).eval()
    ours.load_state_dict(theirs.state_dict())
    wav = 0.1 * torch.randn(2, 2, 5000)
    with torch.no_grad():
        torch.testing.assert_close(ours(wav), theirs(wav), atol=1e-6, rtol=1e-6)


def test_contracts():
    contracts.model_round_trip(small().eval())
    contracts.model_keeps_length(small().eval(), [1, 100, 513, 2000])
    contracts.model_learns(small(sources=("a", "b"), audio_channels=1))


def test_the_filter_follows_in_evaluation_only():
    model, wav = small(), 0.1 * torch.randn(1, 2, 4000)
    model.separator.target_models.apply(
        lambda m: m.eval() if isinstance(m, torch.nn.BatchNorm1d) else None
    )
    with torch.no_grad():
        learning, separating = model(wav), model.eval()(wav)
        plain = small(wiener_iterations=0).eval()(wav)
    torch.testing.assert_close(learning, plain)
    assert not torch.allclose(learning, separating, atol=1e-4)
    torch.testing.assert_close(separating.sum(1), wav, atol=1e-3, rtol=0)


def test_silence_stays_finite_and_one_source_needs_no_filter():
    assert small().eval()(torch.zeros(1, 2, 3000)).isfinite().all()
    assert small(sources=("vocals",)).eval()(torch.randn(1, 2, 3000)).shape == (1, 1, 2, 3000)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"audio_channels": 3}, "audio_channels is 3, allowed is 1 or 2"),
        ({"hidden_size": 7}, "hidden_size is 7, allowed is an even number"),
        ({"max_bin": 300}, "max_bin is 300, allowed is up to the 257 bins"),
        ({"hop_length": 400}, "hop_length is 400, allowed is up to half of n_fft"),
        ({"n_layers": 0}, "n_layers is 0, allowed is 1 and up"),
        ({"wiener_iterations": -1}, "wiener_iterations is -1, allowed is 0 and up"),
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
