r"""Transposed convolutions in ONNX programs, as convolutions and shuffles.

With :math:`s` the stride and :math:`w` the taps, sample :math:`n s + r` of an untrimmed transposed
convolution is

.. math:: y[n s + r] = \sum_q w[q s + r] \, x[n - q], \qquad 0 \le r < s,

a convolution at the input rate with :math:`s` times as many channels, whose outputs are then
interleaved ([1] Sec. 2.2: a subpixel convolution). Padding cuts samples at both ends.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from typing import Any

import numpy as np

END = 2**63 - 1


def without_transposed(program: bytes) -> bytes:
    """Replace every ``ConvTranspose`` of an ONNX program; what it computes stays the same.

    Raises:
        ValueError: For one whose weights are computed, or over several axes.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(program)
    graph = model.graph
    numbers = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Any] = []
    replaced: set[str] = set()
    for node in graph.node:
        if node.op_type != "ConvTranspose":
            nodes.append(node)
            continue
        if any(name not in numbers for name in node.input[1:]):
            raise ValueError(f"the weights of {node.name} are computed, not stored")
        weight, *bias = (numpy_helper.to_array(numbers[name]) for name in node.input[1:])
        if weight.ndim != 3:
            raise ValueError(f"{node.name} has {weight.ndim - 2} axes; one, time, can be written")
        made, constants = _convolution_and_shuffle(node, weight, bias[0] if bias else None)
        nodes += made
        replaced.update(node.input[1:])
        graph.initializer.extend(constants)
    del graph.node[:]
    graph.node.extend(nodes)
    unused = replaced - {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name not in unused]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _convolution_and_shuffle(
    node: Any, weight: np.ndarray, bias: np.ndarray | None
) -> tuple[list[Any], list[Any]]:
    """The nodes in the place of one, and their constants."""
    from onnx import helper, numpy_helper

    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    stride, groups = given.get("strides", [1])[0], given.get("group", 1)
    dilation, (before, after) = given.get("dilations", [1])[0], given.get("pads", [0, 0])
    further = given.get("output_padding", [0])[0]
    taps = np.zeros((*weight.shape[:2], (weight.shape[2] - 1) * dilation + 1), weight.dtype)
    taps[..., ::dilation] = weight
    frames = -(-(taps.shape[2] + further) // stride)
    cut = frames * stride - taps.shape[2] - further + after
    taps = np.pad(taps, ((0, 0), (0, 0), (0, frames * stride - taps.shape[2])))
    taps = taps.reshape(groups, -1, taps.shape[1], frames, stride)  # (group, in, out, frame, phase)
    taps = taps.transpose(0, 2, 4, 1, 3)[..., ::-1]  # (group, out, phase, in, frame)
    out = groups * weight.shape[1]
    constants = {
        "weight": np.ascontiguousarray(taps.reshape(out * stride, -1, frames)),
        "apart": np.array([0, out, stride, -1]),
        "together": np.array([0, out, -1]),
        "start": np.array([before]),
        "stop": np.array([-cut if cut else END]),
        "axis": np.array([2]),
    }
    if bias is not None:
        constants["bias"] = bias.repeat(stride)
    name = {
        key: f"{node.output[0]}.{key}"
        for key in (*constants, "filtered", "split", "turned", "whole")
    }
    filters = [name[key] for key in ("weight", "bias") if key in constants]
    nodes = [
        helper.make_node(
            "Conv",
            [node.input[0], *filters],
            [name["filtered"]],
            group=groups,
            pads=[frames - 1, frames - 1],
        ),
        helper.make_node("Reshape", [name["filtered"], name["apart"]], [name["split"]]),
        helper.make_node("Transpose", [name["split"]], [name["turned"]], perm=[0, 1, 3, 2]),
        helper.make_node("Reshape", [name["turned"], name["together"]], [name["whole"]]),
        helper.make_node(
            "Slice", [name["whole"], name["start"], name["stop"], name["axis"]], [node.output[0]]
        ),
    ]
    return nodes, [numpy_helper.from_array(value, name[key]) for key, value in constants.items()]
