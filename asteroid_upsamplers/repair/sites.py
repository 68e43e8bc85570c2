"""The upsampling layers of a network whose taps can be changed, whatever they are made of.

Modules are known by their class (:mod:`.modules`); shuffles, functions and inverse STFTs are seen
when the network runs (:mod:`.watched`, :mod:`.heads`).
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import type_before_parametrizations

from ..errors import UsageError
from ..probe.targets import MOST_WAVEFORM_CHANNELS, rate_of, usual_shape
from ..registry import nearest_names
from .heads import Head, find_heads
from .modules import Users, identity, site_of_module
from .site import Site
from .watched import site_of_call

MOST_NAMED = 5
"""Layers, in an error about all of them."""

LEAST_CANCELLED_DB = -1.0
"""Attributions below this are worth a warning."""


@dataclass(eq=False)
class Survey:
    """What upsamples in a network.

    Args:
        sites: The layers that can be repaired.
        others: Of the other upsampling layers why not, by name; it begins with ``"has none"`` if
            they cannot have unequal phases.
        warnings: What to know about all of it.
        heads: Inverse STFT heads.
    """

    sites: list[Site] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)

    def add(self, name: str, make: Callable[[], Site | None]) -> None:
        """Add what ``make`` gives, or why it gives nothing."""
        try:
            site = make()
        except UsageError as error:
            self.others[name] = str(error)
        else:
            self.sites += [] if site is None else [site]

    def leave_out(self, order: int) -> None:
        """Leave out sites whose first moments cannot be made equal, if that is asked for."""
        for site in list(self.sites) if order else ():
            if site.most_order and int(site.mask.sum(1).min()) > 1:
                continue
            why = "needs two taps in every phase" if site.most_order else f"is not for {site.kind}"
            self.sites.remove(site)
            self.others[site.name] = f"order=1 {why}: use order=0"

    def chosen(self, layers: str | Sequence[str] | None) -> tuple[list[Site], list[Head]]:
        """The layers of these names, or within modules of these names; all for ``None``.

        Raises:
            UsageError: (a ``ValueError``) if there are none.
        """
        if layers is not None and not isinstance(layers, (str, Iterable)):
            raise UsageError(f"layers must be names of layers, not {type(layers).__name__}")
        wanted = [layers] if isinstance(layers, str) else layers and list(layers)
        known = [site.name for site in self.sites] + [head.name for head in self.heads]
        if wanted is not None and not len(wanted):
            raise UsageError("layers is empty: name at least one, or leave it out to take all")
        for name in wanted or ():
            if name in self.others:
                raise UsageError(f"layer {name} cannot be repaired: {self.others[name]}")
            if not any(_within(one, name) for one in known):
                listed = nearest_names(name, known) if known else "the network has none"
                raise UsageError(f"layers: no layer {name!r} to repair: {listed}")
        if not known:
            reasons = [f"{name}: {reason}" for name, reason in self.others.items()]
            more = len(reasons) - MOST_NAMED
            reasons = reasons[:MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])
            reasons = reasons or ["no upsampling layer was found", *self.warnings]
            raise UsageError(f"nothing to repair: {'; '.join(reasons)}")
        names = wanted if wanted is not None else known
        return (
            [site for site in self.sites if any(_within(site.name, name) for name in names)],
            [head for head in self.heads if any(_within(head.name, name) for name in names)],
        )


NOT_WATCHED = (
    "what the network takes is not known, so that only modules were looked at: pass example, an "
    "input or its shape, to find convolutions with a shuffle, functions and inverse STFTs"
)
SECONDS, FRAMES = 0.5, 64
"""Length of the input if none is given: of a signal, and of features at most."""


def find_sites(
    network: nn.Module,
    layers: str | Sequence[str] | None = None,
    example: Tensor | Sequence[int] | None = None,
) -> list[Site]:
    """The layers of a network that can be repaired.

    Args:
        network: Any network.
        layers: Names of those that are wanted, or of modules that hold them; all if ``None``.
        example: An input of the network, or its shape; if ``None``, one that it seems to take. The
            network is run on it, so that layers that are no modules are found as well.

    Raises:
        UsageError: (a ``ValueError``) if there are none, or one of ``layers`` is none.
    """
    return survey(network, example).chosen(layers)[0]


def survey(network: nn.Module, example: Tensor | Sequence[int] | None = None) -> Survey:
    """The layers that can be repaired, and of the other upsampling layers why they cannot.

    Args:
        network: Any network.
        example: As in :func:`find_sites`.
    """
    found = Survey()
    users = _users(network)
    for path, module in network.named_modules():
        name = plain(path) or type_before_parametrizations(module).__name__
        found.add(name, partial(site_of_module, name, module, users))
    if example is not None:
        _watch(found, network, example, users)
    elif not (_has_weights(network) and _watch(found, network, _usual_input(network), users)):
        found.warnings[:] = [NOT_WATCHED]
    return found


def _has_weights(network: nn.Module) -> bool:
    """Whether a run makes no weights that are not there yet."""
    return not any(is_lazy(p) or p.is_meta for p in network.parameters())


def _usual_input(network: nn.Module) -> tuple[int, ...]:
    """The shape of an input that the network seems to take."""
    rate, _ = rate_of(network, None)
    batch, channels, time = usual_shape(network, rate, SECONDS)
    return batch, channels, time if channels <= MOST_WAVEFORM_CHANNELS else min(time, FRAMES)


def plain(path: str) -> str:
    """The path of a module without the wrappers of ``torch.compile``."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def _within(site: str, name: str) -> bool:
    return site == name or site.startswith(f"{name}.")


def _users(network: nn.Module) -> dict[int, list[str]]:
    """The modules that have a parameter, by its :func:`identity`."""
    users: dict[int, list[str]] = {}
    for path, module in network.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                users.setdefault(identity(parameter), []).append(
                    plain(path) or type(module).__name__
                )
    return users


def _watch(
    found: Survey,
    network: nn.Module,
    example: Tensor | Sequence[int],
    users: Users,
) -> bool:
    """Add the layers that are seen when the network runs, and warn of tones that cancel.

    Returns:
        Whether it could be run.
    """
    from ..probe import examine
    from ..probe.feed import white_noise

    given = example.shape if isinstance(example, Tensor) else example
    shape = tuple(given) if isinstance(given, Iterable) else ()
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        seen = " ".join(reprlib.repr(example).split())
        raise UsageError(f"example must be an input, or its shape as whole numbers, not {seen}")
    try:
        report, signals = examine(network, 1.0, shape)
        found.heads = find_heads(network, white_noise(network, shape, 0))
        found.warnings += [
            f"{head.name}: its bins at 0 and half the rate cancel what neighbouring bins leave "
            f"there; without them these lines rise by {head.louder_db:.1f} dB for zeros"
            for head in found.heads
            if head.louder_db > -LEAST_CANCELLED_DB
        ]
    except UsageError as error:
        found.warnings.append(f"layers that are no modules were not looked for: {error}")
        return False
    root = type_before_parametrizations(network).__name__
    known = {*found.others, *(site.name for site in found.sites)}  # modules
    for layer, call in zip(report.layers, signals.calls, strict=True):
        name = call.name.partition("#")[0] or call.kind
        if root in known and name == call.kind:  # the network is a layer itself
            name = root
        level = layer.attribution_db or 0.0
        if level < LEAST_CANCELLED_DB:
            found.warnings.append(
                f"other layers cancel tones of {name}: without these those of the network rise by "
                f"{-level:.1f} dB; repair it together with the others, or leave it out"
            )
        if not {name, call.group or name} & known:
            if any(site.name == name for site in found.sites):
                name = call.name  # with a number: the same module runs several
            make = partial(site_of_call, name, call, network, users, found.sites)
            found.add(call.group or name, make)
    return True
