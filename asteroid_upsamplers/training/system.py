"""Asteroid's System for batches of sources: mixtures are made on the device, on the fly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from asteroid.engine.system import System
from torch import Tensor, nn

from ..data import Segments, seeded
from ..separation import overlap_add

logger = logging.getLogger(__name__)


class SeparationSystem(System):
    """Trains on augmented segments, validates on whole songs in overlapping chunks.

    The mixture is the sum of the sources. Which random numbers segments are augmented with depends
    on the seed, the epoch and their places in it, not on the devices and parts that share a batch.

    Args:
        augment: Module of ``(sources, generator)``, used in training.
        remix_group: Extracts that are augmented together; divides what a device takes at a time.
        seed: Seed of the augmentation.
        context: Samples before and after the segments in a training batch, which the network sees
            and is not asked to separate.
        chunk: Length of a validation chunk in samples.
        overlap: Samples shared by neighbouring chunks.
        chunk_batch: How many validation chunks at most go through the network at once.
        make_optimizer: Of parameters, the optimizer.
        compiled: Whether training steps go through ``torch.compile``.
        **system: As :class:`asteroid.engine.system.System`; ``loss_func(estimates, sources)``.
    """

    def __init__(
        self,
        augment: nn.Module,
        remix_group: int,
        seed: int,
        context: tuple[int, int],
        chunk: int,
        overlap: int,
        chunk_batch: int,
        make_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        compiled: bool = False,
        **system: Any,
    ):
        super().__init__(optimizer=None, **system)
        self.augment, self.remix_group = augment, remix_group
        self.seed = seed
        self.before = context[0]
        self.chunk, self.overlap, self.chunk_batch = chunk, overlap, chunk_batch
        self.make_optimizer = make_optimizer
        network = self.model.forward_with_context
        self.network = torch.compile(network, dynamic=False) if compiled else network
        self.unreadable = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Made late, as strategies may exchange the parameters."""
        return self.make_optimizer(self.model.parameters())

    def training_step(self, batch: Tensor, batch_nb: int) -> Tensor:
        """Loss of a batch of segments."""
        self._log_unreadable()
        sources = self._augmented(batch.to(self.dtype), batch_nb)
        estimates = self.network(sources.sum(1))
        wanted = sources[..., self.before : self.before + estimates.shape[-1]]
        loss = self.loss_func(estimates, wanted)
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def _augmented(self, sources: Tensor, batch_nb: int) -> Tensor:
        """Group by group, each with the numbers of its place in the epoch."""
        first = (batch_nb * self.trainer.world_size + self.global_rank) * len(sources)
        groups = sources.split(self.remix_group)
        return torch.cat(
            [
                self.augment(
                    group, seeded(self.seed, self.current_epoch, first // self.remix_group + index)
                )
                for index, group in enumerate(groups)
            ]
        )

    def _log_unreadable(self) -> None:
        """Count the segments that others stand for, as their songs could not be read."""
        unreadable = int(cast(Segments, self.train_loader.dataset).unreadable.sum())
        new, self.unreadable = unreadable - self.unreadable, unreadable
        how = {"on_step": False, "on_epoch": True, "reduce_fx": "sum", "sync_dist": True}
        self.log("unreadable_segments", float(new), **how)

    def on_validation_epoch_start(self) -> None:
        """No song is validated yet."""
        self.losses = torch.zeros(2, len(self.val_loader.dataset), dtype=torch.float64)

    def validation_step(self, batch: tuple[int, Tensor], batch_nb: int) -> None:
        """Loss of one whole song ``(source, channel, time)``."""
        number, sources = batch
        estimates = overlap_add(
            self.model.forward_with_context,
            sources.sum(0),
            self.chunk,
            self.overlap,
            self.model.needed_context,
            self.chunk_batch,
        )
        loss = self.loss_func(estimates[None], sources[None])
        self.losses[:, number] += torch.tensor([float(loss), 1.0], dtype=torch.float64)

    def on_validation_epoch_end(self) -> None:
        """The mean over all songs, whichever process had them."""
        sums = self.trainer.strategy.reduce(self.losses.to(self.device), reduce_op="sum")
        losses, counts = sums.cpu()
        self.log("val_loss", (losses / counts).mean().float(), prog_bar=True)
        super().on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Keep the configuration; only plain values, so that the file loads without unpickling."""
        checkpoint["hyper_parameters"] = {}
        checkpoint["training_config"] = self.config
        return checkpoint
