"""Take the tones out of the upsampling layers of a trained network."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from ..artifacts import tone_levels
from ..errors import UsageError, one_line
from ..layers.measured import copied
from ..registry import nearest_names
from .notch import last_convolution
from .phases import nearest_taps, unequal
from .report import (
    HAS_NONE,
    LEFT,
    REPAIRED,
    LayerRepair,
    RepairReport,
    restore,
    same_bits,
    tensors_of,
)
from .site import Site
from .sites import survey
from .weights import effective

METHODS = {
    "phases": ".repair:equal_phases",
    "calibrated": ".calibrated:calibrated",
    "notch": ".notch:notch",
    "distil": ".distil:distil",
    "swap": ".swap:swap",
}
"""Names of methods, and the functions that do them, which are imported when they are needed.

A method is called as ``method(network, sites, order=..., calibration=..., example=..., **options)``
with the copy that it may change in place, and its sites; it returns a list of warnings. Which
weights it changed is found out afterwards.
"""

EQUAL = 1e-7
"""Phase sums in float32 are equal if they differ by no more than this share of the largest tap."""

ONE_TAP = "one tap in each phase: with equal sums it repeats every sample, as nearest neighbours do"


def repair(
    network: nn.Module,
    method: str = "phases",
    order: int = 0,
    layers: str | Sequence[str] | None = None,
    calibration: Any = None,
    *,
    example: Tensor | Sequence[int] | None = None,
    in_place: bool = False,
    **options: Any,
) -> RepairReport:
    """Change the upsampling layers of a network so that a constant makes no tone in them.

    Args:
        network: Any network; it stays as it is, and a copy is repaired. Of a compiled one
            (``torch.compile``) the network that was compiled is taken.
        method: ``"phases"``: the least change of the weights that makes the sums of all phases of a
            filter the same; ``"calibrated"``: the same with the least change of what the layers
            give for ``calibration``, or (``along="silence"``) only for what they receive in
            silence; ``"notch"``: no response at these tones in the network's last convolution;
            ``"distil"``: one of these, then training on what the network gave before; ``"swap"``:
            layers of another family, as near as they can come, to be trained.
        order: 1 makes the first moments equal as well, so that a ramp makes no tone either.
        layers: Names of the layers to repair, or of modules that hold them; all if ``None``.
        calibration: Inputs of the network, such as audio at its sample rate: one tensor, or
            several, each of the shape that the network takes, batch included. ``"calibrated"`` and
            ``"distil"`` need some.
        example: An input of the network, or its shape; if ``None``, one that it seems to take. The
            network is run on it, so that convolutions with a shuffle, functions
            (``F.conv_transpose1d``) and inverse STFT heads are found as well as modules.
        in_place: Whether to repair the network itself instead of a copy.
        **options: Of the method; see the functions in :data:`METHODS`.

    Returns:
        The repaired network and what was done; it can be undone.

    Raises:
        UsageError: (a ``ValueError``) if there is nothing to repair, a layer is unknown or cannot
            be repaired, an argument is of the wrong kind, or the network cannot be copied, or
            refuses its inputs.

    Example:
        >>> network = nn.Sequential(nn.ConvTranspose1d(2, 2, 8, stride=4), nn.ReLU())
        >>> report = repair(network)
        >>> report.layers[0].tone_db_before > -100 > report.layers[0].tone_db_after
        True
    """
    if not isinstance(method, str) or method not in METHODS:
        raise UsageError(f"unknown method {method!r}: {nearest_names(method, METHODS)}")
    if not isinstance(order, Integral) or order not in (0, 1):
        raise UsageError(f"order must be 0 (constants) or 1 (ramps as well), not {order!r}")
    if not isinstance(network, nn.Module):
        raise UsageError(f"network must be an nn.Module, not {type(network).__name__}")
    network = getattr(network, "_orig_mod", network)  # of a compiled one
    run = _method(method, options)
    settings = {"order": order, "calibration": calibration, "example": example, **options}
    with torch.inference_mode(False), torch.device("cpu"):  # whatever the caller's defaults are
        repaired = network if in_place else _copy(network)
        return _repair(repaired, method, run, layers, settings)


def _repair(
    repaired: nn.Module,
    method: str,
    run: Callable[..., list[str]],
    layers: str | Sequence[str] | None,
    settings: dict[str, Any],
) -> RepairReport:
    """Repair a network in place, by a function with all its settings."""
    order, example = settings["order"], settings["example"]
    found = survey(repaired, example)
    found.leave_out(order)
    sites, heads = found.chosen(layers)
    if "notch" in (method, settings.get("start")):
        sites = [last_convolution(repaired, sites, settings["calibration"], example)]
    state = {name: value.detach().clone() for name, value in tensors_of(repaired).items()}
    modules = dict(repaired.named_modules(remove_duplicate=False))
    before = {site.name: (_numbers(site), _loudest(site)) for site in sites}
    try:
        for head in heads:
            head.silence()
        warnings = [*found.warnings, *run(repaired, sites, **settings)]
        for head in heads:
            head.silence()
    except BaseException:
        restore(repaired, state, modules)  # a repair in place is done as a whole or not at all
        raise
    now = dict(repaired.named_modules(remove_duplicate=False))
    replaced = {name: module for name, module in modules.items() if now.get(name) is not module}
    reports = [
        _swapped(site, before[site.name][1])
        if site.name in replaced
        else _layer(site, order, *before[site.name])
        for site in sites
    ]
    reports += [head.report() for head in heads]
    reports += [
        LayerRepair(name, "", 0, HAS_NONE if reason.startswith(HAS_NONE) else LEFT, remark=reason)
        for name, reason in found.others.items()
    ]
    changed = {
        name: state[name]
        for name, value in tensors_of(repaired).items()
        if name in state and not same_bits(value, state[name])
    }
    return RepairReport(repaired, method, order, reports, warnings, changed, replaced)


def _method(method: str, options: dict[str, Any]) -> Callable[..., list[str]]:
    """The function of a method, if it takes these options, and values of their types."""
    file, _, function = METHODS[method].partition(":")
    run = getattr(importlib.import_module(file, __package__), function)
    types = get_type_hints(run)
    allowed = types.keys() - {"network", "sites", "return"}
    for name, value in options.items():
        if name not in allowed:
            known = nearest_names(name, allowed)
            raise UsageError(f"method {method}: unknown option {name!r}: {known}")
        whole = isinstance(value, int) and isinstance(0.0, types[name])
        if not whole and not isinstance(value, types[name]):
            kind = inspect.signature(run).parameters[name].annotation
            raise UsageError(f"method {method}: option {name!r} must be {kind}, not {value!r}")
    return run


def equal_phases(
    network: nn.Module,
    sites: Sequence[Site],
    order: int = 0,
    calibration: Any = None,
    example: Any = None,
) -> list[str]:
    """The method ``phases``; see :mod:`.phases`."""
    for site in sites:
        taps, biases = site.taps(), site.biases()
        if not is_equal(site, order):
            mean = None if biases is None else biases.mean(1, keepdim=True).expand_as(biases)
            site.assign(nearest_taps(taps, site.mask, site.places, order), mean)
    return []


def is_equal(site: Site, order: int) -> bool:
    """Whether all phases of a site have equal sums (and moments) and biases already."""
    biases = site.biases()
    same = biases is None or bool((biases.amax(1) - biases.amin(1) <= 0).all())
    digit = torch.finfo(site.dtype).eps
    most = max(EQUAL, digit * (4 if site.norm else 1)) if digit > 1e-6 else EQUAL
    taps, mask, places = site.taps(), site.mask, site.places
    sums = unequal(taps, mask, places) <= (most if site.norm else EQUAL)  # else they are exact
    return same and sums and (not order or unequal(taps, mask, places, order) <= most)


def _copy(network: nn.Module) -> nn.Module:
    try:
        return copied(network)
    except Exception as error:  # whatever the network's own classes raise
        raise UsageError(
            f"the network cannot be copied ({one_line(error)}): pass in_place=True"
        ) from error


@torch.no_grad()
def _layer(site: Site, order: int, before: list[Tensor], loudest: float) -> LayerRepair:
    pairs = list(zip(_numbers(site), before, strict=True))
    change = sum(float((new - old).square().sum()) for new, old in pairs)
    size = sum(float(old.square().sum()) for _, old in pairs)
    return LayerRepair(
        site.name,
        site.kind,
        site.stride,
        REPAIRED if change else HAS_NONE if is_equal(site, order) else LEFT,
        (change / size) ** 0.5 if size else 0.0,
        loudest,
        _loudest(site),
        "kept" if site.norm else None,
        ONE_TAP if change and int(site.mask.sum(1).max()) == 1 else "",
    )


def _swapped(site: Site, loudest: float) -> LayerRepair:
    new: Any = site.module
    after = max(tone_levels(new).levels_db)
    return LayerRepair(
        site.name,
        site.kind,
        site.stride,
        REPAIRED,
        tone_db_before=loudest,
        tone_db_after=after,
        remark=f"is {new.name} now",
    )


@torch.no_grad()
def _numbers(site: Site) -> list[Tensor]:
    """Weight and bias, as they are now."""
    names = [site.weight] if site.bias_numbers is None else [site.weight, site.bias]
    return [effective(site.module, name).to(torch.float64, copy=True) for name in names]


def _loudest(site: Site) -> float:
    return max(site.tones().levels_db)
