"""The lint for what a user names: a model file, a factory, or an ONNX file, whose graph is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..artifacts.system import transposed_system
from ..errors import UsageError
from .lint import LintFinding, LintReport, finding_of_offsets, findings_of, lint
from .modules import UpsamplingModule
from .onnx_file import OnnxNetwork
from .onnx_trace import place_of, settings_of
from .targets import is_model_file, is_onnx, load_network

RECTIFIERS = ("Relu", "LeakyRelu", "PRelu", "Elu", "Gelu", "Softplus")
BIASED = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "GRU": 3, "RNN": 3}
"""Operators with a bias, and which of their inputs that is."""

INTERPOLATIONS = ("Resize", "Upsample")
UNREAD = ("DepthToSpace", "Col2Im", "ScatterND", "ScatterElements", "Scatter", "Expand", "Tile")
"""Operators that may make a signal longer."""


def run_lint(
    target: str, settings: dict[str, Any] | None = None, time_axis: int = -1, **options: Any
) -> LintReport:
    """:func:`lint` for a model file, an ONNX file or a ``package.module:factory``.

    Args:
        target: As of :func:`run_probe`, but no recording.
        settings: Arguments of the factory.
        time_axis: As of :func:`lint`.
        options: Of measurements; each must be ``None``.

    Raises:
        UsageError: In one line that names the target.
    """
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{target}: --lint runs nothing: {', '.join(given)} cannot be used")
    if Path(target).is_file() and not is_model_file(target) and not is_onnx(target):
        raise UsageError(
            f"{target}: --lint reads the layers of a model file, of an ONNX file or of a factory's "
            "network (probe without --lint measures others)"
        )
    network = load_network(target, settings or {})
    try:
        if isinstance(network, OnnxNetwork):
            return lint_onnx(network, time_axis)
        return lint(network, time_axis)
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error.__cause__


@torch.no_grad()
def lint_onnx(network: OnnxNetwork, time_axis: int = -1) -> LintReport:
    """:func:`lint` for the graph of an ONNX file.

    Transposed convolutions and interpolations are recognised.
    """
    found: list[str] = []
    findings: list[LintFinding] = []
    biased: list[str] = []
    unknown: list[str] = []
    rectified = False
    places = [place_of(node, network.weights) for node in network.nodes]
    masks = any("mask" in place for place in places)
    for node, place in zip(network.nodes, places, strict=True):
        layer = None
        if masks and place.split(".")[-1] == "decoder":  # a silent input stays silent
            biased, rectified = [], False
        if node.op_type == "ConvTranspose":
            layer = _transposed(network, node, place, time_axis)
        elif node.op_type in INTERPOLATIONS:
            layer = UpsamplingModule(place, 2, torch.ones(1, 2))  # whatever its factor: no tones
        elif node.op_type in UNREAD and node.input[0] not in network.weights:
            unknown.append(f"{place} ({node.op_type}) may make the signal longer")
        if layer is not None and layer.stride > 1:
            found.append(layer.name)
            findings += findings_of(layer)
            if biased and layer.makes_tones:
                findings.append(finding_of_offsets(layer, biased, rectified))
        if _has_bias(network, node):
            biased.append(place)
        rectified |= node.op_type in RECTIFIERS
    return LintReport(found, findings, list(dict.fromkeys(unknown)))


def _transposed(
    network: OnnxNetwork, node: Any, place: str, time_axis: int
) -> UpsamplingModule | None:
    weight = network.weights.get(node.input[1])
    settings = settings_of(node)
    shape = settings.get("kernel_shape") or (weight.shape[2:] if weight is not None else ())
    if not shape:
        return None
    axis = max(0, len(shape) + time_axis)
    stride, dilation = (
        settings.get(name, [1] * len(shape))[axis] for name in ("strides", "dilations")
    )
    period: Tensor | None = None
    if weight is not None:
        taps = torch.from_numpy(np.array(weight)).movedim(2 + axis, -1).flatten(1, -2)
        system = transposed_system(taps, None, stride, 1, dilation)
        period = system.phase_gains()
    along = "" if len(shape) == 1 else f"along axis {time_axis} (time): "
    return UpsamplingModule(place, stride, period, None, shape[axis], dilation, along=along)


def _has_bias(network: OnnxNetwork, node: Any) -> bool:
    names = list(node.input)
    if node.op_type == "Add":  # as exporters write the bias of a matrix product
        given = [network.weights[name] for name in names if name in network.weights]
        return any(value.ndim == 1 and value.size > 1 and value.any() for value in given)
    place = BIASED.get(node.op_type, len(names))
    value = network.weights.get(names[place]) if place < len(names) else None
    return value is not None and bool(value.any())
