"""Asteroid's System for batches of sources: mixtures are made on the device, on the fly."""

from __future__ import annotations

from typing import Any

from asteroid.engine.system import System
from torch import Tensor, nn

from ..data import seeded
from ..dsp import overlap_add


class SeparationSystem(System):
    """Trains on augmented extracts, validates on whole songs in overlapping chunks.

    The mixture is the sum of the sources. Which random numbers a batch is augmented with depends on
    the seed, the epoch, the batch's number and the process only.

    Args:
        augment: Module of ``(sources, generator)``, used in training.
        seed: Seed of the augmentation.
        context: Samples before and after the extracts in a training batch, which the network sees
            and is not asked to separate.
        chunk: Length of a validation chunk in samples.
        overlap: Samples shared by neighbouring chunks.
        **system: As :class:`asteroid.engine.system.System`; ``loss_func(estimates, sources)``.
    """

    def __init__(
        self,
        augment: nn.Module,
        seed: int,
        context: tuple[int, int],
        chunk: int,
        overlap: int,
        **system: Any,
    ):
        super().__init__(**system)
        self.augment = augment
        self.seed = seed
        self.before = context[0]
        self.chunk, self.overlap = chunk, overlap

    def training_step(self, batch: Tensor, batch_nb: int) -> Tensor:
        """Loss of a batch of extracts ``(batch, source, channel, time)``."""
        generator = seeded(self.seed, self.current_epoch, batch_nb, self.global_rank)
        sources = self.augment(batch, generator)
        estimates = self.model.forward_with_context(sources.sum(1))
        wanted = sources[..., self.before : self.before + estimates.shape[-1]]
        loss = self.loss_func(estimates, wanted)
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Tensor, batch_nb: int) -> None:
        """Loss of one whole song ``(1, source, channel, time)``."""
        network, mixture = self.model.forward_with_context, batch[0].sum(0)
        estimates = overlap_add(
            network, mixture, self.chunk, self.overlap, self.model.needed_context
        )
        loss = self.loss_func(estimates[None], batch)
        self.log("val_loss", loss, on_epoch=True, prog_bar=True, batch_size=1, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Keep the configuration; only plain values, so that the file loads without unpickling."""
        checkpoint["hyper_parameters"] = {}
        checkpoint["training_config"] = self.config
        return checkpoint
