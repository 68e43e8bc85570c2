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

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..artifacts import prominence
from ..errors import UsageError
from ..files import damage_of, whole_or_nothing
from ..layers.measured import copied
from ..probe.state import undisturbed
from .calibrated import calibrated
from .inputs import inputs_of, received, signals
from .notch import notch
from .repair import equal_phases
from .site import Site
from .sites import survey

logger = logging.getLogger(__name__)

PIECE = 2**14
"""Samples of output in a piece, about."""

HELD_OUT = 8
"""One piece in so many is held out."""

VALIDATE, PATIENCE = 25, 4
"""Steps between looks at the held-out pieces; so many without improvement end it."""

WARM_UP = 20
N_FFTS = (2048, 1024, 512, 256)
AUDIBLE_DB = 2.0
"""Lines that stand out less are left to themselves."""

Pieces = list[tuple[Tensor, list[Tensor]]]


def distil(
    network: nn.Module,
    sites: Sequence[Site],
    *,
    order: int = 0,
    calibration: Any = None,
    start: str = "phases",
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
        start: The method before: ``"phases"``, ``"calibrated"`` or ``"notch"``.
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
    starts = {"phases": _phases, "calibrated": calibrated, "notch": notch}
    if start not in starts:
        raise UsageError(f"start must be one of {', '.join(starts)}, not {start!r}")
    inputs = inputs_of(network, "distil", calibration)
    teacher = copied(network)
    period = _period(network, sites, inputs[0])
    pieces, tones = _pieces(teacher, inputs, period, piece, steps * batch, seed)
    settings = {"start": start, "order": order, "steps": steps, "lr": lr, "batch": batch}
    settings |= {"piece": piece, "lines": lines, "seed": seed, "inputs": len(inputs)}
    warnings = starts[start](network, sites, order=order, calibration=inputs)
    training = Training(network, sites, order, pieces, tones, settings)
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

    def run(self, state: Path | None, progress: bool) -> None:
        """Train, and leave the best network that was found."""
        steps = self.settings["steps"]
        bar = tqdm(total=steps, initial=self.step, desc="distilling", disable=not progress)
        with undisturbed(self.network), bar:  # the weights are written afterwards
            if not self.step:
                self.best_loss = self._held_out()
            while self.step < steps and not self._stale():
                self._one_step()
                bar.update()
                if self.step % VALIDATE == 0 or self.step == steps:
                    self._look()
                    bar.set_postfix(held_out=f"{self.best_loss:.4f}")
                    if state is not None:
                        self.save(state)
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                value.copy_(self.best[name])

    def _stale(self) -> bool:
        return self.step - self.best_step >= PATIENCE * VALIDATE

    def _one_step(self) -> None:
        steps, count = self.settings["steps"], self.settings["batch"]
        rise = min(1.0, (self.step + 1) / WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings["lr"] * rise * _cosine(self.step / steps)
        self.optimizer.zero_grad()
        chosen = torch.randint(len(self.pieces), (count,), generator=self.generator)
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            for number in chosen.tolist():
                x, targets = self.pieces[number]
                found = signals(self.network, x)
                loss = sum(self._loss(y, t) for y, t in zip(found, targets, strict=True))
                (loss / count + self._line_loss(found[0]) / count).backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        _phases(self.network, self.sites, order=self.order)
        self.step += 1

    def _loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        return spectral_loss(estimate / self.scale, target / self.scale)

    def _line_loss(self, y: Tensor) -> Tensor:
        """See above; the running mean is over about 40 pieces."""
        if not self.tones:
            return y.new_zeros(())
        now = _amplitudes(y, self.tones)
        self.mean = self.mean + 0.025 * (now.detach() - self.mean)
        energy = now.detach().abs().square() + self.mean.abs().square() + 1e-12 * self.scale**2
        return self.settings["lines"] * ((self.mean.conj() * now).real / energy).mean()

    @torch.no_grad()
    def _held_out(self) -> float:
        losses = [
            sum(self._loss(y, t) for y, t in zip(signals(self.network, x), targets, strict=True))
            for x, targets in self.held
        ]
        return float(sum(losses)) / len(losses)

    def _look(self) -> None:
        loss = self._held_out()
        if loss < self.best_loss:
            self.best, self.best_loss, self.best_step = self._copy(), loss, self.step

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        state = {name: getattr(self, name) for name in STATE}
        state |= {"network": self._copy(), "optimizer": self.optimizer.state_dict()}
        state["random"] = self.generator.get_state()
        with whole_or_nothing(path) as partial:
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
                f"{path}: is of another network, or of other settings ({settings}): delete it to "
                "begin anew, or name another file"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(weights[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["random"])
        for name in STATE:
            setattr(self, name, state[name])
        self.mean = self.mean.to(self.weights[0].device)


STATE = ("settings", "step", "best", "best_loss", "best_step", "mean")


def spectral_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of samples, and of magnitudes and their logarithms, ``(..., time)``.

    Signals of a standard deviation near 1: magnitudes below a thousandth of that of white noise
    count as the same. Each of the resolutions that the signals are long enough for counts alike.
    """
    losses = [F.l1_loss(estimate, target)]
    for n_fft in (n for n in N_FFTS if n <= target.shape[-1]):
        window = torch.hann_window(n_fft, device=target.device, dtype=target.dtype)
        size = float(window.square().sum().sqrt())
        mine, other = (
            torch.stft(y.reshape(-1, y.shape[-1]), n_fft, n_fft // 4, window=window, center=False,
                       return_complex=True).abs() / size
            for y in (estimate, target)
        )  # fmt: skip
        losses.append(F.l1_loss(mine, other))
        losses.append(F.l1_loss((mine + 1e-3).log(), (other + 1e-3).log()))
    return torch.stack(losses).mean()


def without_lines(y: Tensor, frequencies: Sequence[float]) -> Tensor:
    """A signal without what is at given frequencies, in cycles per sample, and in two bins around.

    Args:
        y: ``(..., time)``.
        frequencies: From 0 to a half.
    """
    if not frequencies:
        return y
    spectrum = torch.fft.rfft(y)
    for frequency in frequencies:
        bin_ = round(frequency * y.shape[-1])
        spectrum[..., max(1, bin_ - 1) : bin_ + 2] = 0
    return torch.fft.irfft(spectrum, y.shape[-1])


def _phases(
    network: nn.Module, sites: Sequence[Site], *, order: int = 0, calibration: Any = None
) -> list[str]:
    return equal_phases(network, sites, order)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _amplitudes(y: Tensor, tones: Sequence[float]) -> Tensor:
    """``(tones,)``, complex: what signals ``(..., time)`` hold at frequencies, on average."""
    time = torch.arange(y.shape[-1], device=y.device, dtype=torch.float64)
    turns = torch.tensor(tones, device=y.device, dtype=torch.float64)[:, None] * time
    wave = torch.polar(torch.ones_like(turns), -2 * math.pi * turns).to(torch.complex64)
    return (wave @ y.reshape(-1, y.shape[-1]).mT.to(wave)).mean(1) / y.shape[-1]


def _prominent(outputs: Sequence[Tensor], period: int) -> list[float]:
    """Which multiples of ``1 / period`` stand out of the noise, in cycles per sample."""
    y = torch.cat([y.reshape(-1, y.shape[-1])[:1] for y in outputs], -1)
    n_fft = min(16384, 2 ** int(math.log2(y.shape[-1])) // 2)
    if n_fft < max(64, 16 * period):  # tones and what lies between cannot be told apart
        return []
    tones = [k / period for k in range(1, period // 2 + 1)]
    levels = prominence(y, 1.0, tones, n_fft)
    return [tone for tone, level in zip(tones, levels.tolist(), strict=True) if level > AUDIBLE_DB]


def _period(network: nn.Module, sites: Sequence[Site], x: Tensor) -> int:
    """Samples of output that all predicted tones repeat after: a frame of the slowest layer."""
    modules = list(dict.fromkeys(site.module for site in (*sites, *survey(network).sites)))
    frames: dict[int, int] = {}
    received(network, modules, [x], lambda number, y: frames.update({number: y.shape[-1]}))
    with undisturbed(network):
        samples = signals(network, x)[0].shape[-1]
    return max(round(samples / number) for number in frames.values())


def _pieces(
    teacher: nn.Module, inputs: Sequence[Tensor], period: int, length: int, most: int, seed: int
) -> tuple[Pieces, tuple[list[float], Tensor]]:
    """Cut inputs into pieces, and run the teacher on as many as can be used.

    Returns:
        The pieces in a random order, without lines; the frequencies of these, and what they were.
    """
    with undisturbed(teacher):
        factor = signals(teacher, inputs[0])[0].shape[-1] / inputs[0].shape[-1]
        size = max(1, round(length / factor)) if length else 0
        cut = []
        for x in inputs:
            whole = not size or x.shape[-1] <= size
            cut += [x] if whole else [p for p in x.split(size, -1) if p.shape[-1] == size]
        order = torch.randperm(len(cut), generator=torch.Generator().manual_seed(seed)).tolist()
        pieces = [(cut[k], [y.clone() for y in signals(teacher, cut[k])]) for k in order[:most]]
        tones = _prominent([y[0] for _, y in pieces], period)
        mean = torch.stack([_amplitudes(y[0], tones) for _, y in pieces]).mean(0)
    return [(x, [without_lines(y[0], tones), *y[1:]]) for x, y in pieces], (tones, mean)
