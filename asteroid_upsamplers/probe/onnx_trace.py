"""Record what the nodes of an ONNX graph take and give, in the words of torch's operations.

So the rooms that tell layers from lengths and from moved numbers know them as torch's own. What
comes out is what onnxruntime gives; nothing is computed by what is described here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .moves import NOTHING
from .onnx_file import OnnxNetwork
from .onnx_read import Values, inputs_of
from .operations import INPUT, MOST_KEPT, Op, Record, Source

AT_ONCE = 16
"""So many nodes run in one go; what they give is in memory at the same time."""

NAMES = {
    **{"Reshape": "view", "Flatten": "view", "Squeeze": "squeeze", "Unsqueeze": "unsqueeze"},
    **{"Transpose": "permute", "Identity": "alias", "Dropout": "alias", "Cast": "_to_copy"},
    **{"CastLike": "_to_copy", "Expand": "expand", "Tile": "repeat", "Concat": "cat"},
    **{"Slice": "slice", "Split": "split", "Gather": "index_select", "GatherElements": "gather"},
    **{"GatherND": "index", "ScatterND": "index_put", "ScatterElements": "scatter"},
    **{"Scatter": "scatter", "DepthToSpace": "pixel_shuffle", "Col2Im": "col2im"},
    **{"MatMul": "mm", "Gemm": "addmm", "Where": "where", "Conv": "convolution"},
    **{"ConvTranspose": "convolution", "GridSample": "grid_sampler_2d"},
}
"""Operators of ONNX, and torch's operations that do the same."""

PADS = {"constant": "constant_pad_nd", "reflect": "reflection_pad1d", "edge": "replication_pad1d"}
SIZES = ("Shape", "Size")
"""Operators that take no more of a tensor than its size."""

Change = Callable[[Tensor], Tensor]


def traced(
    network: OnnxNetwork,
    x: Tensor,
    changes: Mapping[int, Change] | None = None,
    check: bool = False,
) -> tuple[Values, Record, dict[str, int | None]]:
    """Run a network and record its nodes; with changes, run it only.

    Args:
        network: The network.
        x: Its signal.
        changes: By the index of an operation: called with its output, and what it returns goes on
            through the network.
        check: Whether to look for NaN and infinities.

    Returns:
        Its outputs, what was recorded, and the index of the operation that made each output.
    """
    if changes:
        return _changed(network, x, changes), Record([]), dict.fromkeys(network.outputs)
    recorder = _Recorder(network, x, check)
    recorder.run()
    made_by = {name: recorder.made.get(name, (None, 0))[0] for name in network.outputs}
    return {n: recorder.live[n] for n in network.outputs}, recorder.record, made_by


def _changed(network: OnnxNetwork, x: Tensor, changes: Mapping[int, Change]) -> Values:
    given = network.inputs(x)
    for index in sorted(changes):
        name = next(filter(None, network.nodes[index - 1].output))
        y = torch.from_numpy(network.evaluate([name], given)[name])
        given[name] = changes[index](y).to(y).numpy()
    return network.evaluate(network.outputs, given)


class _Recorder:
    """A run of a network, a few nodes at a time."""

    def __init__(self, network: OnnxNetwork, x: Tensor, check: bool):
        self.network, self.check = network, check
        self.live: Values = network.inputs(x)
        self.record = Record([Op(INPUT, "", [], [tuple(x.shape)], True)])
        self.made: dict[str, tuple[int, int]] = {network.signal.name: (0, 0)}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run(self) -> None:
        nodes, outputs = self.network.nodes, set(self.network.outputs)
        last = {name: k for k, node in enumerate(nodes) for name in inputs_of(node)}
        for start in range(0, len(nodes), AT_ONCE):
            part = nodes[start : start + AT_ONCE]
            names = [name for node in part for name in node.output if name]
            self.live |= self.network.evaluate(names, self.live)
            for name in (*names, *(self.live if start == 0 else ())):
                self.shapes[name] = getattr(self.live[name], "shape", ())  # a sequence has none
            for node in part:
                self._add(node)
            done = [n for n in self.live if last.get(n, -1) < start + len(part)]
            for name in set(done) - outputs:
                del self.live[name]

    def _add(self, node: Any) -> None:
        ops = self.record.ops
        taken = [] if node.op_type in SIZES else inputs_of(node)
        sources = [self._source(name) for name in taken]
        heard = any(source.op is not None and ops[source.op].heard for source in sources)
        given = [self._kept(name) for name in node.input]
        name, arguments, function = self._called(node, given)
        names = [name for name in node.output if name]
        if name.startswith("upsample_"):
            sources = sources[:1]
        shapes = [self.shapes[n] for n in names]
        place = place_of(node, self.network.weights)
        self.made |= {n: (len(ops), k) for k, n in enumerate(node.output)}
        if self.check and self.record.broken is None and heard and name != "where":
            values = [v for n in names if isinstance(v := self.live[n], np.ndarray)]
            if any(v.dtype.kind == "f" and not np.isfinite(v).all() for v in values):
                self.record.broken = len(ops)
        ops.append(Op(name, place, sources, shapes, heard, arguments, None, function))

    def _called(self, node: Any, given: list[Any]) -> tuple[str, tuple[Any, ...], Any]:
        """The name and the arguments of torch's operation, and what moves numbers as it does."""
        settings = settings_of(node)
        if node.op_type in ("Conv", "ConvTranspose"):
            axes = len(self.shapes.get(node.input[0], ())) - 2
            strides, dilations = (
                list(settings.get(k, [1] * axes)) for k in ("strides", "dilations")
            )
            bias = given[2] if len(given) > 2 else None
            transposed = node.op_type == "ConvTranspose"
            pads, group = settings.get("pads"), settings.get("group", 1)
            arguments = (*given[:2], bias, strides, pads, dilations, transposed, None, group)
            return NAMES[node.op_type], arguments, None
        if node.op_type in ("Resize", "Upsample"):
            mode = _text(settings.get("mode", "nearest"))
            other = mode != "nearest" and not self._as_torch(settings)
            return f"upsample_{mode}", (given[0], other), None
        if node.op_type == "DFT":
            axis = settings.get("axis", -2 if self.network.version > 19 else 1)
            axis = int(given[2]) if len(given) > 2 else axis
            half, inverse = settings.get("onesided", 0), settings.get("inverse", 0)
            name = "_fft_c2r" if half and inverse else "_fft_r2c" if half else "_fft_c2c"
            return name, (given[0], [axis]), None
        name = NAMES.get(node.op_type, node.op_type.lower())
        if node.op_type == "Pad" and len(given) > 1:
            name = PADS.get(_text(settings.get("mode", "constant")), "pad")
        elif node.op_type == "ConstantOfShape" and not _filled(settings):
            name = "zeros"
        elif node.op_type == "GatherND" and isinstance(given[1], Tensor):
            given[1] = given[1].squeeze(-1)  # places along one axis, as torch has them
        return name, tuple(given), partial(_moved, self.network, node)

    def _as_torch(self, settings: dict[str, Any]) -> bool:
        """Whether an interpolation puts its samples where torch does."""
        default = "half_pixel" if self.network.version > 10 else "asymmetric"
        centres = _text(settings.get("coordinate_transformation_mode", default))
        plain = not settings.get("antialias") and not settings.get("exclude_outside")
        same = abs(settings.get("cubic_coeff_a", -0.75) + 0.75) < 1e-6
        return centres in ("half_pixel", "pytorch_half_pixel") and plain and same

    def _source(self, name: str) -> Source:
        shape = self.shapes.get(name)
        if shape is None:
            shape = np.shape(self.network.weights.get(name, ()))
        op, output = self.made.get(name, (None, 0))
        return Source(op, shape, op is None, output)

    def _kept(self, name: str) -> Any:
        if not name:
            return None
        source = self._source(name)
        op = self.record.ops[source.op] if source.op is not None else None
        value = self.live.get(name, self.network.weights.get(name))
        signal = op is not None and (op.heard or op.name == "zeros")
        if signal or not isinstance(value, np.ndarray) or value.size > MOST_KEPT:
            return source
        try:
            kept = torch.from_numpy(np.array(value))
        except TypeError:  # texts, for example
            return source
        return kept.float() if kept.dtype == torch.float16 else kept


def _moved(network: OnnxNetwork, node: Any, *arguments: Any) -> Any:
    """Where a node moves whole numbers to."""
    values: list[Any] = [None if a is None else np.asarray(a) for a in arguments]
    values = [  # numbers of the file's own, such as zeros between samples, come from nowhere
        np.full_like(v, NOTHING, dtype=np.int64) if v is not None and v.dtype.kind == "f" else v
        for v in values
    ]
    if node.op_type == "DepthToSpace":  # onnxruntime does that with floats only
        values = [np.float64(value) for value in values]
    elif node.op_type == "GatherND" and values[1].ndim == 1:
        values[1] = values[1][:, None]
    found = [torch.from_numpy(y.astype(np.int64)) for y in network.alone(node, values)]
    return found[0] if len(found) == 1 else found


def settings_of(node: Any) -> dict[str, Any]:
    """The attributes of a node by name."""
    from onnx.helper import get_attribute_value

    return {one.name: get_attribute_value(one) for one in node.attribute}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _filled(settings: dict[str, Any]) -> bool:
    from onnx.numpy_helper import to_array

    return "value" in settings and bool(to_array(settings["value"]).any())


def place_of(node: Any, weights: Values) -> str:
    """Name of the module that a node comes from, by what exporters note; else by its weights."""
    noted = {one.key: one.value for one in node.metadata_props}
    scopes = noted.get("pkg.torch.onnx.name_scopes")
    if scopes:
        try:
            return str([*ast.literal_eval(scopes)][-2])
        except (ValueError, SyntaxError, IndexError):
            pass
    if "/" in node.name:
        return ".".join(node.name.strip("/").split("/")[:-1])
    named = [
        n.rpartition(".")[0] for n in node.input if n in weights and not n.startswith("onnx::")
    ]
    return next((name for name in named if name), node.name or node.output[0])
