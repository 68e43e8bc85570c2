"""Asteroid's System for batches of sources: the mixtures are made on the device, on the fly."""

from __future__ import annotations

import logging
from typing import Any

import torch
from asteroid.engine.system import System
from torch import Tensor, nn

from ..data import seeded
from ..separation import overlap_add

logger = logging.getLogger(__name__)

OVERLAP = 0.25
"""Share of a validation chunk that it has in common with the next one."""


class SeparationSystem(System):
    """Trains on augmented segments, validates on whole songs in overlapping chunks.

    The mixture is the sum of the sources. The random numbers of the augmentation follow from the
    seed, the epoch and the position of a segment in the epoch, so they are the same on any number
    of devices. Songs are validated in chunks of a segment's length, as many at a time as a training
    step takes: that never needs more memory than training.

    Args:
        augment: Module of ``(sources, generator)``, used in training.
        remix_group: Segments that are augmented together; divides the micro-batch.
        seed: Seed of the augmentation.
        segment: Length of a segment in samples, without its context.
        micro_batch: Segments that go through the network at once.
        compiled: Whether training steps go through ``torch.compile``.
        **system: As :class:`asteroid.engine.system.System`; ``loss_func(estimates, sources)``.
    """

    def __init__(
        self,
        augment: nn.Module,
        remix_group: int,
        seed: int,
        segment: int,
        micro_batch: int,
        compiled: bool = False,
        **system: Any,
    ):
        super().__init__(train_loader=None, **system)
        self.augment, self.remix_group, self.seed = augment, remix_group, seed
        self.segment, self.micro_batch = segment, micro_batch
        self.before, _ = self.model.needed_context(segment)
        network = self.model.forward_with_context
        self.network = torch.compile(network, dynamic=False) if compiled else network

    @staticmethod
    def config_to_hparams(dic: dict) -> dict:
        """As Asteroid's, which has no use for lists of names."""
        plain = {
            k: {n: str(v) if isinstance(v, list) else v for n, v in dic[k].items()} for k in dic
        }
        return System.config_to_hparams(plain)

    def training_step(self, sources: Tensor, batch_nb: int) -> Tensor:
        """Loss of a micro-batch ``(batch, source, channel, time)``."""
        sources = self._augmented(sources.to(self.dtype), batch_nb)
        estimates = self.network(sources.sum(1))
        wanted = sources[..., self.before : self.before + estimates.shape[-1]]
        loss = self.loss_func(estimates, wanted)
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def _augmented(self, sources: Tensor, batch_nb: int) -> Tensor:
        """Group by group, each with random numbers of its own."""
        first = (batch_nb * self.trainer.world_size + self.global_rank) * len(sources)
        augmented = []
        for index, group in enumerate(sources.split(self.remix_group), first // self.remix_group):
            augmented.append(self.augment(group, seeded(self.seed, self.current_epoch, index)))
        return torch.cat(augmented)

    def on_validation_epoch_start(self) -> None:
        """No song is validated yet."""
        songs = len(self.trainer.val_dataloaders.dataset)
        self.losses = torch.zeros(2, songs, dtype=torch.float64)

    def validation_step(self, batch: tuple[int, Tensor], batch_nb: int) -> None:
        """Loss of one whole song ``(source, channel, time)``."""
        number, sources = batch
        estimates = overlap_add(
            self.model.forward_with_context,
            sources.sum(0),
            self.segment,
            int(OVERLAP * self.segment),
            self.model.needed_context,
            self.micro_batch,
        )
        loss = self.loss_func(estimates[None], sources[None])
        self.losses[:, number] += torch.tensor([float(loss), 1.0], dtype=torch.float64)

    def on_validation_epoch_end(self) -> None:
        """The mean over all songs, whichever process had them, and however often."""
        sums = self.trainer.strategy.reduce(self.losses.to(self.device), reduce_op="sum")
        losses, counts = sums.cpu()
        losses = losses / counts
        for number in (~losses.isfinite()).nonzero()[:, 0]:
            song = self.trainer.val_dataloaders.dataset.songs[number]
            logger.warning("validation: the loss of %s is %g", song.name, losses[number])
        val_loss = losses.mean().float()
        self.log("val_loss", val_loss, prog_bar=True, sync_dist=True)
        super().on_validation_epoch_end()
        if (scheduler := self.lr_schedulers()) is not None:
            scheduler.step(val_loss)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Nothing: Lightning comes here after the checkpoint, which would lack the new rate."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Keep the configuration as plain values, so that the file loads without unpickling."""
        checkpoint["hyper_parameters"] = {}
        checkpoint["training_config"] = self.config
        return checkpoint
