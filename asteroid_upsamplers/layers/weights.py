"""A check of weights that come from files and from strangers' networks."""

from __future__ import annotations

from torch import nn

from ..errors import UsageError


def refuse_non_finite(module: nn.Module) -> None:
    """Refuse a network of which a weight is NaN or infinite, as training that diverged leaves it.

    Of a buffer only NaN is refused: masks of attention hold infinities.

    Raises:
        UsageError: Naming the first.
    """
    damaged = [
        *(n for n, p in module.named_parameters() if not p.is_meta and not p.isfinite().all()),
        *(n for n, b in module.named_buffers() if not b.is_meta and b.isnan().any()),
    ]
    if damaged:
        raise UsageError(
            f"{damaged[0]} holds NaN or infinite numbers: the file is damaged, or training "
            "diverged; use an earlier checkpoint"
        )
