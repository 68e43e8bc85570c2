"""What holds for every model."""

from __future__ import annotations

import io

import pytest
import torch
from asteroid.models import get as asteroid_get


def round_trip(model: torch.nn.Module, x: torch.Tensor) -> None:
    """``serialize`` -> file -> Asteroid, by name, under ``weights_only`` loading."""
    file = io.BytesIO()
    torch.save(model.serialize(), file)
    file.seek(0)
    package = torch.load(file, weights_only=True)
    cls = asteroid_get(type(model).__name__)
    assert cls is type(model)
    twin = cls.from_pretrained(package)
    assert twin.get_model_args() == model.get_model_args()
    with torch.no_grad():
        assert torch.equal(twin.eval()(x), model.eval()(x))


def keeps_length(model: torch.nn.Module, times: tuple[int, ...]) -> None:
    """Any length goes in, the same length comes out, for every source and channel."""
    with torch.no_grad():
        for time in times:
            y = model(torch.randn(2, model.in_channels, time))
            assert y.shape == (2, len(model.sources), model.in_channels, time)
            assert torch.isfinite(y).all()


def learns(model: torch.nn.Module, steps: int = 12) -> None:
    """A gradient reaches every parameter, and a few steps on one batch lower the loss."""
    torch.manual_seed(0)
    x = 0.1 * torch.randn(2, model.in_channels, 2000)
    target = torch.stack([x * gain for gain in torch.linspace(-1, 1, len(model.sources))], 1)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(steps):
        loss = (model(x) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    assert parameter.grad is not None, name
                    assert parameter.grad.abs().max() > 0, name
        optimizer.step()
    assert min(losses[1:]) < 0.99 * losses[0]


def refuses(build, settings, words: str) -> None:
    """An impossible setting is refused in one line with ``words``."""
    with pytest.raises(ValueError, match=words) as caught:
        build(**settings)
    assert "\n" not in str(caught.value)
