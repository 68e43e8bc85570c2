"""What in the construction of a network makes tones: read from its modules, which do not run.

Modules are taken in the order in which they were registered, which in most networks is the order in
which they run. Of what a network does in functions only some names are seen.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..artifacts.result import Result
from ..errors import UsageError
from .by_name import interpolating, unread
from .modules import TRANSPOSED, UpsamplingModule, upsampling_module
from .state import roots_of

RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus)

SHOWN = 2
"""Of the layers with a bias so many are named, the nearest."""

NAMED = 4
"""So many of the layers that were recognised are named."""

MEASURE = "probe without --lint runs the network and measures it"

SUMS = "or hold phases equal (tone_free=True of layers.Subpixel)"
INSTEAD = "or interpolate and convolve instead (nearest, linear)"


@dataclass(frozen=True)
class LintFinding(Result):
    """One reason for tones.

    Args:
        name: Of the module, such as ``"decoder.0.upsampler"``.
        rule: ``"partial-overlap"``, ``"gaps"``, ``"unequal-phase-gains"``,
            ``"unequal-phase-biases"`` or ``"offsets-before-upsampling"``.
        section: Of [1], where it is explained.
        message: What is wrong.
        advice: What to do.
    """

    name: str
    rule: str
    section: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.rule}: {self.message} [{self.section}]; {self.advice}"


@dataclass(frozen=True)
class LintReport(Result):
    """What :func:`lint` found.

    Args:
        layers: Names of the upsampling layers that were recognised. If there are none, that there
            are no findings says nothing of the network.
        findings: In the order of the modules.
        unknown: Modules that make signals longer, by their names or source, in a way that cannot be
            read without running them.
    """

    layers: list[str]
    findings: list[LintFinding]
    unknown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        count = f"{len(lines) or 'No'} finding{'s' * (len(lines) != 1)}"
        lines += [f"not read: {line}" for line in self.unknown]
        if self.layers:
            more = f" and {len(self.layers) - NAMED} more" if len(self.layers) > NAMED else ""
            names = ", ".join(self.layers[:NAMED]) + more
            end = f"{count}, upsampling layers recognised: {len(self.layers)} ({names})"
            end += f"; {MEASURE}" if self.unknown else ""
        else:
            why = "" if self.unknown else ", and what is written in functions is not"
            end = f"Unknown: no upsampling layer was recognised that can be read{why}; {MEASURE}"
        return "\n".join([*lines, end]) + "\n"


@torch.no_grad()
def lint(network: Callable[..., Any], time_axis: int = -1) -> LintReport:
    """Read from a network's modules what makes tones; the network does not run.

    Recognised are this package's upsamplers, torch's transposed convolutions, Asteroid's decoders,
    pixel shuffles after a convolution of the same block, and interpolations (``nn.Upsample``, and
    modules without others in them that are called so; these are run on a constant).

    - ``partial-overlap`` ([1] Sec. 2): the kernel of a transposed convolution is no multiple of its
      stride, and phases do not have the same gain for another reason.
    - ``gaps`` (Sec. 2): some samples of its output get nothing, as the kernel is shorter than the
      stride.
    - ``unequal-phase-gains``, ``unequal-phase-biases`` (Sec. 4): the channels that a shuffle puts
      side by side turn a constant into a tone, or add one to silence.
    - ``offsets-before-upsampling`` (Sec. 5, Fig. 9): biases in layers before an upsampling layer
      whose phases have unequal gains. Masks multiply: what is in the ``masker`` of an Asteroid
      model does not count for its decoder.

    Args:
        network: A torch module.
        time_axis: Of the signals, for layers in two or three dimensions: the last, as of
            ``torch.stft``, or -2 for ``(time, frequency)``.

    Raises:
        UsageError: If it is no torch module, or weights are NaN.

    Example:
        >>> from torch import nn
        >>> report = lint(nn.Sequential(nn.ConvTranspose1d(4, 4, 3, stride=2)))
        >>> [(finding.name, finding.rule) for finding in report.findings]
        [('0', 'partial-overlap')]
    """
    roots = roots_of(getattr(network, "_orig_mod", network))  # of a compiled one
    if len(roots) != 1 or isinstance(roots[0], torch.jit.ScriptModule):
        kind = type(roots[0] if len(roots) == 1 else network).__name__
        raise UsageError(f"{kind}: there are no torch modules to read: probe it without --lint")
    root = roots[0]
    _refuse_damage(root)
    found: list[str] = []
    findings: list[LintFinding] = []
    biased: list[str] = []
    others: list[tuple[str, nn.Module]] = []
    rectified, inside = False, None
    named = dict(root.named_modules())
    for name, module in named.items():
        if inside is not None and name.startswith(inside):
            continue
        if _decodes_masked(root, name):
            biased, rectified = [], False
        layer = upsampling_module(root, name, module, time_axis) or interpolating(name, module)
        if layer is not None:
            found.append(layer.name)
            findings += findings_of(layer)
            before = [other for other in biased if named[other] is not layer.filters]
            if before and layer.makes_tones:
                findings.append(finding_of_offsets(layer, before, rectified))
            inside = f"{name}." if name else ""
        elif not isinstance(module, (*TRANSPOSED, nn.Upsample)):  # along other axes than time
            others.append((name, module))
        if any(map(_has_bias, [module] if layer is None else module.modules())):
            biased = [*biased, name]
        rectified |= isinstance(module, RECTIFIERS)
    return LintReport(found, findings, unread(others))


def _refuse_damage(root: nn.Module) -> None:
    for name, weight in root.named_parameters():
        unknown = is_lazy(weight) or weight.is_meta or not weight.is_floating_point()
        if not unknown and not weight.isfinite().all():
            raise UsageError(f"{name} holds NaN or infinite numbers: training diverged")


def _decodes_masked(root: nn.Module, name: str) -> bool:
    """Whether a module gets what a mask was multiplied with: a silent input stays silent."""
    parent, _, own = name.rpartition(".")
    siblings = dict(root.get_submodule(parent).named_children())
    return own == "decoder" and {"encoder", "masker"} <= siblings.keys()


def _has_bias(module: nn.Module) -> bool:
    own = [name for name, _ in module.named_parameters(recurse=False)]
    return any("bias" in name for name in [*own, *getattr(module, "parametrizations", ())])


def findings_of(layer: UpsamplingModule) -> list[LintFinding]:
    """What is wrong with a layer itself."""
    findings = []
    taps, stride = layer.taps_by_phase, layer.stride
    if len(set(taps)) > 1 and layer.makes_tones:
        size = f"{layer.along}kernel size {layer.kernel_size}"
        size += f" (dilation {layer.dilation})" if layer.dilation > 1 else ""
        empty = taps.count(0)
        if empty:
            rule = "gaps"
            short = "shorter than" if layer.dilation == 1 else "too short for"
            message = f"{size} is {short} stride {stride}: {empty} of {stride} samples get no input"
            advice = f"take kernel size {2 * stride}, {INSTEAD}"
        else:
            rule = "partial-overlap"
            message = (
                f"{size} is no multiple of stride {stride}: {min(taps)} or {max(taps)} taps "
                "reach an output sample"
            )
            full = layer.kernel_size // stride * stride
            advice = f"take kernel size {full} or {full + stride} (full overlap), {INSTEAD}"
        findings.append(LintFinding(layer.name, rule, "Sec. 2, issue (ii)", message, advice))
    if layer.shuffles and layer.unequal_gains:
        message = (
            f"{100 * layer.tonal_fraction:.2g} % of a constant's power becomes tones, as the "
            f"filters of the {stride} phases have different sums"
        )
        advice = f"start with equal filters (ICNR), {SUMS}, {INSTEAD}"
        findings.append(LintFinding(layer.name, "unequal-phase-gains", "Sec. 4", message, advice))
    if layer.shuffles and layer.unequal_biases:
        message = f"its biases differ by phase: tones, even of silence, with period {stride}"
        advice = f"give all phases of a channel one bias, {SUMS}, or leave biases out"
        findings.append(LintFinding(layer.name, "unequal-phase-biases", "Sec. 4", message, advice))
    return findings


def finding_of_offsets(layer: UpsamplingModule, biased: list[str], rectified: bool) -> LintFinding:
    """What layers with a bias, and ReLUs, before a layer mean for it."""
    nearest = ", ".join(reversed(biased[-SHOWN:]))
    more = f" and {len(biased) - SHOWN} more" if len(biased) > SHOWN else ""
    message = (
        f"biases of layers before it ({nearest}{more}){', and ReLUs,' if rectified else ''} are "
        f"offsets, also in silence; it turns these into tones with period {layer.stride}"
    )
    advice = (
        "build these without biases, and the first layer without its ReLU, as silence then stays "
        f"silent, {INSTEAD}"
    )
    return LintFinding(layer.name, "offsets-before-upsampling", "Sec. 5, Fig. 9", message, advice)
