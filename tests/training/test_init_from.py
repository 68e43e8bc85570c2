"""A training that starts from a repaired model holds its layers without tones."""

import pytest
import torch

from asteroid_upsamplers import artifacts
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike, load_model
from asteroid_upsamplers.repair import repair
from asteroid_upsamplers.training import build_model, load_config, start_from_file

from .recipe import CONF, TINY, train, write_songs


def configured(path, **options):
    settings = {"channels": "4", "depth": "3", "sample_rate": "8000", **options}
    return load_config(CONF, init_from=str(path), **settings)


@pytest.fixture
def repaired(tmp_path):
    torch.manual_seed(0)
    model = DemucsLike(channels=4, depth=3, sample_rate=8000, normalize=True)
    torch.save(repair(model).network.serialize(), tmp_path / "repaired.pth")
    return tmp_path / "repaired.pth"


def test_training_starts_from_its_weights_without_tones(tmp_path, repaired):
    torch.manual_seed(1)
    conf = configured(repaired)
    model, x = build_model(conf), torch.randn(1, 2, 3000)
    start_from_file(conf, model)
    torch.testing.assert_close(model(x), load_model(repaired)(x), rtol=1e-4, atol=1e-6)
    songs = write_songs(tmp_path / "songs")
    settings = f"{TINY.replace(TINY.split()[1], '8000')} --epochs 1 --lr 0.01"
    train(songs, tmp_path / "exp", "--init_from", repaired, settings=settings)
    trained = load_model(tmp_path / "exp" / "best_model.pth")
    for before, block in zip(model.decoder, trained.decoder, strict=True):
        assert not torch.equal(before.upsampler.weight, block.upsampler.weight)
        assert artifacts.tone_levels(block.upsampler).tonal_fraction < 1e-9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": "5"}, "another network than is configured: DemucsLike channels 4, not 5"),
        ({"upsampler": "nearest"}, "another network than is configured"),
        ({"normalize": "false"}, "normalize True, not False"),
    ],
)
def test_another_network_is_refused(repaired, options, words):
    conf = configured(repaired, **options)
    with pytest.raises(UsageError, match=words):
        start_from_file(conf, build_model(conf))


def test_interpolations_need_no_constraint(tmp_path):
    conf = configured("some.pth", upsampler="linear")
    assert "tone_free" not in build_model(conf).get_model_args()["upsampler_kwargs"]
    with pytest.raises(UsageError, match="init_from: some.pth: no such file"):
        start_from_file(conf, build_model(conf))
