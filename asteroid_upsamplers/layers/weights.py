"""A check of weights that come from files and from strangers' networks."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import UsageError


def refuse_non_finite(module: nn.Module) -> None:
    """Refuse a network of which a weight is NaN or infinite, as training that diverged leaves it.

    Raises:
        UsageError: Naming the first.
    """
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and not value.is_meta and not value.isfinite().all():
            raise UsageError(
                f"{name} holds NaN or infinite numbers: the file is damaged, or training diverged; "
                "use an earlier checkpoint"
            )
