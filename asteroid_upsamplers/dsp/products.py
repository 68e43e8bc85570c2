"""Every tap times every sample: the matrix product of the commuted form.

The weight of a convolution, ``(out, in, K)``, is no matrix of taps as it lies: it has to be put in
the order ``(out, K, in)`` first. For small weights that is a copy like any other. A large one is
fresh pages from the system each time, twice over: for the taps, which autograd keeps, and for their
gradient, which goes back to the first order. There the product is done block by block, and both
copies are made of a block at a time, on the heap.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

HEAP_BYTES = 2**24
"""Blocks above 32 MiB are fresh pages from the system each time (glibc's largest mmap threshold),
and touching them can take as long as the computation that fills them. Half of that measured
best."""


def as_matrix(weight: Tensor) -> Tensor:
    """``(out, in, K)`` -> ``(out * K, in)``, a copy."""
    return weight.transpose(1, 2).flatten(0, 1)


def is_large(weight: Tensor) -> bool:
    """Whether a copy of ``weight`` is worth avoiding."""
    large = weight.numel() * weight.element_size() > HEAP_BYTES
    return large and weight.device.type == "cpu" and not torch.compiler.is_compiling()


class BlockedProduct(torch.autograd.Function):
    """``as_matrix(weight) @ columns`` in blocks of output channels."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, columns: Tensor) -> Tensor:
        """``weight`` is ``(out, in, K)``, ``columns`` ``(in, samples)``."""
        ctx.save_for_backward(weight, columns)
        return torch.cat([as_matrix(block) @ columns for block in _blocks(weight)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The two products of the chain rule; differentiable once more if that is asked for."""
        weight, columns = ctx.saved_tensors
        taps = weight.shape[2]
        if torch.is_grad_enabled():
            of_weight = (gradient @ columns.T).unflatten(0, (-1, taps)).transpose(1, 2)
            return of_weight, as_matrix(weight).T @ gradient
        of_weight = torch.empty_like(weight) if ctx.needs_input_grad[0] else None
        of_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None
        start = 0
        for block in _blocks(weight):
            stop = start + len(block)
            part = gradient[start * taps : stop * taps]
            if of_columns is not None:
                of_columns.addmm_(as_matrix(block).T, part)
            if of_weight is not None:
                product = (part @ columns.T).unflatten(0, (-1, taps))
                of_weight[start:stop].copy_(product.transpose(1, 2))
            start = stop
        return of_weight, of_columns


def _blocks(weight: Tensor) -> tuple[Tensor, ...]:
    row = weight[0].numel() * weight.element_size()
    return weight.split(max(1, HEAP_BYTES // row))
