"""Which devices a run may use, as the environment says it."""

from __future__ import annotations

import os

import torch

from ..errors import UsageError


def visible_gpus() -> int:
    """How many GPUs torch can use, which are all that ``CUDA_VISIBLE_DEVICES`` names.

    CUDA leaves out those that do not exist, without a word, and a program would take the CPU.

    Raises:
        UsageError: If one of them does not exist.
    """
    gpus, asked = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if asked not in ("", "-1", "NoDevFiles") and gpus < len(asked.split(",")):
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES (--id of run.sh) is {asked!r}, but torch finds {gpus} of these "
            "GPUs: name others, or set it to '' to use the CPU"
        )
    return gpus
