"""``train.py`` with FSDP on CPUs, which torch and Lightning do only if they are made to."""

import contextlib
import sys
from unittest import mock

import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp._flat_param import FlatParamHandle

from asteroid_upsamplers.training import fit, parse_arguments, processes


class OnCPU(FSDPStrategy):
    """FSDP over gloo.

    What torch brings from a GPU to the CPU is a copy, and the memory that it had there is freed or
    used again. On the CPU it is that memory itself, so here copies are made.
    """

    root_device = torch.device("cpu")

    def _setup_model(self, model):
        return FullyShardedDataParallel(model, device_id=self.root_device, **self.kwargs)

    def optimizer_state(self, optimizer):
        views = FlatParamHandle._get_unflat_views_aligned
        copies = mock.patch.object(
            FlatParamHandle,
            "_get_unflat_views_aligned",
            lambda handle, tensor: views(handle, tensor.clone()),
        )
        with copies:
            return super().optimizer_state(optimizer)


def main() -> None:
    """The strategy that a GPU would have, of this class."""
    conf, exp_dir = parse_arguments("test", sys.argv[1:])
    chosen = processes.strategy_of

    def strategy_of(conf, model, planned):
        gpus = processes.Processes("gpu", planned.devices, planned.nodes)
        return chosen(conf, model, gpus)

    with (
        mock.patch.object(processes, "FSDPStrategy", OnCPU),
        mock.patch.object(FlatParamHandle, "to_cpu", return_value=contextlib.nullcontext()),
        mock.patch("asteroid_upsamplers.training.fit.strategy_of", strategy_of),
    ):
        fit(conf, exp_dir)


if __name__ == "__main__":
    main()
