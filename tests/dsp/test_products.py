"""The blocked product is the product, with its first and second derivatives."""

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.dsp import products


@pytest.fixture
def small_heap(monkeypatch):
    """Blocks of two output channels of the tensors below."""
    monkeypatch.setattr(products, "HEAP_BYTES", 2 * 3 * 4 * 8)


@pytest.fixture
def inputs():
    shapes = ((5, 3, 4), (3, 7))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_it_is_the_product(small_heap, inputs):
    weight, columns = inputs
    assert len(products._blocks(weight)) == 3
    expected = torch.einsum("oik,in->okn", weight, columns).flatten(0, 1)
    torch.testing.assert_close(products.BlockedProduct.apply(weight, columns), expected)
    torch.testing.assert_close(products.as_matrix(weight) @ columns, expected)


def test_derivatives(small_heap, inputs):
    assert torch.autograd.gradcheck(products.BlockedProduct.apply, inputs)
    assert torch.autograd.gradgradcheck(products.BlockedProduct.apply, inputs)


@pytest.mark.parametrize("frozen", [0, 1])
def test_only_what_is_asked_for(small_heap, inputs, frozen):
    inputs[frozen].requires_grad_(False)
    products.BlockedProduct.apply(*inputs).sum().backward()
    assert inputs[frozen].grad is None
    assert inputs[1 - frozen].grad.shape == inputs[1 - frozen].shape


@pytest.mark.parametrize("name", ["nearest", "linear"])
def test_layers_use_it_for_large_weights(monkeypatch, name):
    layer = layers.get(name)(6, 4, 4, form="commuted")
    x = torch.randn(2, 6, 30, requires_grad=True)
    gradients = []
    for heap in (2**24, 500):
        monkeypatch.setattr(products, "HEAP_BYTES", heap)
        y = layer(x)
        used = "BlockedProduct" in graph_of(y)
        assert used == (heap == 500)
        gradients.append(torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]))
    for blocked, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(blocked, whole)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert "BlockedProduct" not in graph_of(layer(x))


def graph_of(y):
    """The names of the operations behind a tensor."""
    names, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.add(node.name().removesuffix("Backward"))
            waiting += [parent for parent, _ in node.next_functions]
    return names
