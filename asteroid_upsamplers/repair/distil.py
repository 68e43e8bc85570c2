r"""Self-distillation: the repaired network learns to give what the original gives, without tones.

The teacher is the network before the repair, the pupil after it, and the data any inputs without
labels. Both are run on the same short pieces. The pupil's loss is that of a spectrogram in several
resolutions and of the samples, against the teacher's output from which the predicted tones were
taken out: at each of their frequencies, as far as they stand out of the noise around them, the
nearest bins of the piece's spectrum are set to zero.

A weak line is a small part of a piece, and says little to such a loss. What makes it a line is that
it has the same phase everywhere: its amplitude :math:`A = \mathrm{E}\, y_t e^{-i \omega t}` over
many pieces, of which no single one shows it. Half the gradient of :math:`|A|^2` is that of
:math:`\mathrm{Re}(\bar A a)`, with the amplitude :math:`a` in one piece; a running mean stands for
:math:`A`. These terms are added, each as a share of the energy of :math:`a` itself.

After each step the layers are projected on those without tones, so that the network is repaired at
any time (projected gradient descent). The best network on held-out pieces is kept, the start
included: what comes out is no worse than what was put in.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import UsageError, one_line
from ..files import damage_of, tell_full_disk, whole_or_nothing
from ..layers.measured import copied
from ..probe.state import undisturbed
from .calibrated import calibrated
from .inputs import inputs_of, signals
from .notch import notch
from .pieces import PIECE, Pieces, amplitudes, checksum, cut, period_of, spectral_loss
from .repair import equal_phases
from .report import tensors_of
from .site import Site

HELD_OUT = 8
"""One piece in so many is held out."""

VALIDATE, PATIENCE = 25, 4
"""Steps between looks at the held-out pieces; so many without improvement end it."""

WARM_UP = 20


def distil(
    network: nn.Module,
    sites: Sequence[Site],
    *,
    order: int = 0,
    calibration: Any = None,
    start: str = "better",
    steps: int = 300,
    lr: float = 3e-5,
    batch: int = 1,
    piece: int = PIECE,
    lines: float = 0.1,
    seed: int = 0,
    state: str | os.PathLike | None = None,
    progress: bool = True,
    example: Any = None,
) -> list[str]:
    """Repair layers, then fit what the network gave before, in place.

    Args:
        network: That holds them.
        sites: The layers; what :func:`..notch.last_convolution` gives for ``start="notch"``.
        order: 1 for equal first moments as well.
        calibration: Inputs of the network, ``(batch, channels, time)``: a tensor or several.
        start: The method before: ``"phases"``, ``"calibrated"`` or ``"notch"``; ``"better"``: that
            of the first two after which the held-out pieces are nearer to the original's.
        steps: Of Adam, at most; the learning rate rises, then falls along a cosine.
        lr: Highest learning rate.
        batch: Pieces for each step.
        piece: Length of a piece, in samples of output; 0 to take each input whole.
        lines: Weight of the loss of weak lines.
        seed: Of the order of the pieces.
        state: File that keeps the training; if it is there, training goes on from it.
        progress: Show a progress bar.
        example: Is not needed.

    Returns:
        Warnings.
    """
    if start != BETTER and start not in STARTS:
        raise UsageError(f"start must be one of {', '.join([BETTER, *STARTS])}, not {start!r}")
    if steps < 1 or batch < 1 or piece < 0 or not 0 < lr < math.inf or not 0 <= lines < math.inf:
        raise UsageError("steps, batch and lr must be positive, piece and lines at least 0")
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed must be from 0 to {2**32 - 1}, not {seed}")
    inputs = inputs_of(network, "distil", calibration)
    teacher = copied(network)
    period = period_of(network, sites, inputs[0])
    pieces, tones = cut(teacher, inputs, period, piece, steps * batch, seed)
    settings = {"start": start, "order": order, "steps": steps, "lr": lr, "batch": batch}
    settings |= {"piece": piece, "lines": lines, "seed": seed, "layers": [s.name for s in sites]}
    settings["data"] = checksum([*inputs, *tensors_of(network).values()])
    training = Training(network, sites, order, pieces, tones, settings)
    warnings = training.begin([start] if start != BETTER else ["phases", "calibrated"], inputs)
    if state is not None and Path(state).exists():
        training.load(Path(state))
    training.run(None if state is None else Path(state), progress)
    if not training.best_step:
        warnings.append("distillation did not improve on its start, which was kept")
    return warnings


class Training:
    """The training of one network.

    Args:
        network: The pupil, changed in place.
        sites: Layers that are held tone-free.
        order: As for the repair.
        pieces: Inputs, and what the teacher gives for them, without its lines.
        tones: Frequencies of the lines, in cycles per sample, and their amplitudes in its output.
        settings: As of :func:`distil`.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Sequence[Site],
        order: int,
        pieces: Pieces,
        tones: tuple[list[float], Tensor],
        settings: dict[str, Any],
    ):
        self.network, self.sites, self.order, self.settings = network, sites, order, settings
        held = max(1, len(pieces) // HELD_OUT)
        self.held, self.pieces = pieces[:held], pieces[held:] or pieces
        self.tones, self.mean = tones
        self.scale = max(float(torch.cat([y[0].flatten() for _, y in pieces]).std()), 1e-8)
        weights = [p for p in network.parameters() if p.is_floating_point()]
        self.weights = [p for p in weights if p.requires_grad] or weights
        self.optimizer = torch.optim.Adam(self.weights, settings["lr"], (0.9, 0.99))
        self.generator = torch.Generator().manual_seed(settings["seed"])
        self.step = self.best_step = 0
        self.best, self.best_loss = self._copy(), math.inf

    def begin(self, starts: Sequence[str], inputs: Sequence[Tensor]) -> list[str]:
        """Repair the network by that of some methods after which it is nearest to the teacher."""
        original, warnings = self._copy(), []
        for name in starts:
            self._write(original)
            try:
                found = STARTS[name](self.network, self.sites, order=self.order, calibration=inputs)
            except UsageError as error:
                if name == starts[0]:
                    raise
                warnings.append(f"method {name!r} was not tried as a start: {error}")
                continue
            _phases(self.network, self.sites, order=self.order)  # of layers that it left
            with undisturbed(self.network):
                loss = self._held_out()
            if loss < self.best_loss:
                self.best, self.best_loss, warnings = self._copy(), loss, found
        self._write(self.best)
        return warnings

    def run(self, state: Path | None, progress: bool) -> None:
        """Train, and leave the best network that was found."""
        steps = self.settings["steps"]
        bar = tqdm(total=steps, initial=self.step, desc="distilling", disable=not progress)
        frozen = [p for p in self.weights if not p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        with undisturbed(self.network), bar:  # the weights are written afterwards
            while self.step < steps and not self._stale():
                self._one_step()
                bar.update()
                if self.step % VALIDATE == 0 or self.step == steps:
                    self._look()
                    bar.set_postfix(held_out=f"{self.best_loss:.4f}")
                    if state is not None:
                        self.save(state)
        for parameter in frozen:
            parameter.requires_grad_(False)
        self.optimizer.zero_grad()
        self._write(self.best)

    def _stale(self) -> bool:
        return self.step - self.best_step >= PATIENCE * VALIDATE

    def _one_step(self) -> None:
        steps, count = self.settings["steps"], self.settings["batch"]
        rise = min(1.0, (self.step + 1) / WARM_UP)
        fall = 0.5 * (1 + math.cos(math.pi * self.step / steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings["lr"] * rise * fall
        self.optimizer.zero_grad()
        chosen = torch.randint(len(self.pieces), (count,), generator=self.generator)
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            for number in chosen.tolist():
                loss, found = self._loss(*self.pieces[number])
                try:
                    (loss / count + self._line_loss(found) / count).backward()
                except RuntimeError as error:  # of what has no gradients, or keeps its state
                    raise UsageError(
                        f"the network cannot be trained as it is: {one_line(error)}"
                    ) from error
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        _phases(self.network, self.sites, order=self.order)
        self.step += 1

    def _loss(self, x: Tensor, targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """For one piece; and the first signal of the network."""
        found = signals(self.network, x)
        if [y.shape for y in found] != [target.shape for target in targets]:
            raise UsageError("the network's outputs for the same input have different shapes")
        pairs = zip(found, targets, strict=True)
        losses = [spectral_loss(y / self.scale, target / self.scale) for y, target in pairs]
        return torch.stack(losses).sum(), found[0]

    def _line_loss(self, y: Tensor) -> Tensor:
        """See above; the running mean is over about 40 pieces."""
        if not self.tones:
            return y.new_zeros(())
        now = amplitudes(y, self.tones)
        self.mean = self.mean + 0.025 * (now.detach() - self.mean)
        energy = now.detach().abs().square() + self.mean.abs().square() + 1e-12 * self.scale**2
        return self.settings["lines"] * ((self.mean.conj() * now).real / energy).mean()

    @torch.no_grad()
    def _held_out(self) -> float:
        return sum(float(self._loss(*piece)[0]) for piece in self.held) / len(self.held)

    def _look(self) -> None:
        loss = self._held_out()
        if loss < self.best_loss:
            self.best, self.best_loss, self.best_step = self._copy(), loss, self.step

    @torch.no_grad()
    def _write(self, state: dict[str, Tensor]) -> None:
        for name, value in self.network.state_dict().items():
            value.copy_(state[name])

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        state = {name: getattr(self, name) for name in STATE}
        state |= {"network": self._copy(), "optimizer": self.optimizer.state_dict()}
        state["random"] = self.generator.get_state()
        with whole_or_nothing(path) as partial, tell_full_disk(partial, RuntimeError):
            torch.save(state, partial)

    def load(self, path: Path) -> None:
        """Go on from a file.

        Raises:
            UsageError: (a ``ValueError``) if it is damaged, or of another training.
        """
        try:
            state = torch.load(path, "cpu", weights_only=True)
            settings, weights = state["settings"], state["network"]
        except Exception as error:  # whatever torch raises for a file that it cannot read
            reason = damage_of(path) or "it holds no state of a distillation"
            raise UsageError(f"{path}: {reason} (delete it to begin anew)") from error
        own = self.network.state_dict()
        if settings != self.settings or {k: v.shape for k, v in weights.items()} != {
            k: v.shape for k, v in own.items()
        }:
            raise UsageError(
                f"{path}: is of another network, of other inputs or settings ({settings}): "
                "delete it to begin anew, or name another file"
            )
        self._write(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["random"])
        for name in STATE:
            setattr(self, name, state[name])
        self.mean = self.mean.to(self.weights[0].device)


STATE = ("settings", "step", "best", "best_loss", "best_step", "mean")


def _phases(
    network: nn.Module, sites: Sequence[Site], *, order: int = 0, calibration: Any = None
) -> list[str]:
    return equal_phases(network, sites, order)


BETTER = "better"
STARTS: dict[str, Callable[..., list[str]]] = {
    "phases": _phases,
    "calibrated": calibrated,
    "notch": notch,
}
"""The methods that a distillation can begin with."""
