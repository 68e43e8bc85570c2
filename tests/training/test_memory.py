"""What a run would take, said before it: parameters, memory, disk, steps."""

from collections.abc import Iterable

import pytest
import torch

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.training import (
    build_model,
    load_config,
    sizes,
)
from asteroid_upsamplers.training.memory import _saved_bytes, saved_bytes
from tests.training.recipe import (
    CONF,
    RECIPE,
    checkpoint,
    summary,
    train,
)


def test_out_of_memory_names_the_settings_to_lower(songs, tmp_path, monkeypatch):
    def forward(self, mixture):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    monkeypatch.setattr(DemucsLike, "forward", forward)
    with pytest.raises(UsageError, match=r"raise training\.accumulate \(1\) or set") as caught:
        train(songs, tmp_path / "exp")
    assert "\n" not in str(caught.value)


def test_a_dry_run_says_what_a_run_finds(songs, alone, capsys):
    train(songs, alone, "--epochs", 3, "--dry_run")
    words = capsys.readouterr().out
    assert f"model: DemucsLike, {summary(alone)['parameters']:,} parameters" in words
    assert f"{checkpoint(alone)['global_step']:,} in all 3 epochs, each of 4 segments" in words
    assert "2 songs to train on" in words and "2 to validate on" in words


def test_the_disk_that_a_run_writes_is_what_the_dry_run_says(alone):
    conf = load_config(alone / "conf.yml")
    tensors = leaves(checkpoint(alone, part) for part in ("last", "previous", "best"))
    files = sum(tensor.nbytes for tensor in tensors)
    model = sum(tensor.nbytes for tensor in leaves(checkpoint(alone, "best")))
    assert sizes(conf).kept == pytest.approx(files + model, rel=1e-3)
    full = sizes(load_config(CONF))
    said = (
        f"{full.kept / 2**30:.1f} GB of checkpoints and models, and {full.checkpoint / 2**30:.1f}"
    )
    assert said in (RECIPE / "README.md").read_text()


def leaves(content):
    """All tensors in nested containers."""
    if isinstance(content, torch.Tensor):
        return [content]
    parts = content.values() if isinstance(content, dict) else content
    if isinstance(content, (str, bytes)) or not isinstance(parts, Iterable):
        return []
    return [tensor for part in parts for tensor in leaves(part)]


@pytest.mark.parametrize(
    ("options", "weights", "segment"),
    [
        ({}, 16, 4),  # bytes: weight, gradient and two moments; an activation
        ({"ema": "0.9"}, 20, 4),
        ({"optimizer": "sgd"}, 8, 4),
        ({"precision": "bf16-mixed"}, 18, 2),
        ({"precision": "bf16-true"}, 8, 2),
    ],
    ids=str,
)
def test_memory_follows_precision_and_optimizer(options, weights, segment):
    conf = load_config(CONF, channels="4", segment="1", **options)
    size, plain = sizes(conf), load_config(CONF, channels="4", segment="1")
    parameters = sum(p.numel() for p in build_model(conf).parameters())
    assert size.weights == pytest.approx(weights * parameters)
    assert size.segment == pytest.approx(segment / 4 * sizes(plain).segment)


def test_activations_are_counted_on_shapes_alone():
    """As on real tensors, but for the LSTM, which keeps other ones there."""
    conf = load_config(CONF, channels="16", depth="5")
    counted = saved_bytes(conf, 44100)
    assert counted == pytest.approx(_saved_bytes(conf, 44100, "cpu"), rel=0.2)
    assert saved_bytes(conf, 88200) == pytest.approx(2 * counted, rel=0.1)
