"""Read an ONNX file and refuse what is damaged. Such a file is data: nothing in it is code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError, one_line

NOT_CODE = ("ai.onnx", "com.microsoft")
"""Beginnings of the names of operator sets that onnxruntime brings along."""

RATES = ("sample_rate", "samplerate", "sampling_rate")

UNSTATED = ("...",)
"""Sizes of an input of which the file states none."""

Values = dict[str, Any]
"""Tensors of a graph by their names, as arrays of numpy."""


class Taken(NamedTuple):
    """An input of a graph: its name, its type, and its sizes, of which free ones are texts."""

    name: str
    dtype: np.dtype
    sizes: tuple[int | str, ...]

    @property
    def is_signal(self) -> bool:
        """Whether it may be a waveform or features: floats, with a time axis."""
        free = any(isinstance(size, str) for size in self.sizes)
        return self.dtype.kind == "f" and (len(self.sizes) > 1 or free)

    @property
    def time(self) -> int | None:
        """Its last free axis but the batch; ``None`` if all sizes are fixed."""
        first = 0 if len(self.sizes) == 1 else 1
        free = [k for k, size in enumerate(self.sizes) if isinstance(size, str) and k >= first]
        return free[-1] if free else None

    @property
    def is_length(self) -> bool:
        """Whether it says how long the signal is, by its name."""
        return self.dtype.kind == "i" and "len" in self.name.lower()

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.sizes))})"


def inputs_of(node: Any) -> list[str]:
    """All tensors that a node takes, those that only its inner graphs take included."""
    names = [name for name in node.input if name]
    for graph in _graphs(node):
        own = {name for inner in graph.node for name in inner.output}
        own |= {value.name for value in (*graph.input, *graph.initializer)}
        inside = [name for inner in graph.node for name in inputs_of(inner)]
        names += [n for n in (*inside, *(v.name for v in graph.output)) if n not in own]
    return names


def all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph, and those of graphs within them."""
    for node in graph.node:
        yield node
        for inner in _graphs(node):
            yield from all_nodes(inner)


def _graphs(node: Any) -> Iterable[Any]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else attribute.graphs)


def read_model(path: Path) -> Any:
    """The model in an ONNX file, its functions inlined; what cannot be examined is refused."""
    import onnx
    import onnx.inliner

    try:
        model = onnx.load(path)
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever protobuf raises; files of weights may be missing, too
        raise UsageError(f"{path}: damaged, or no ONNX file ({one_line(error)})") from error
    graph = model.graph
    if not graph.node or not graph.output or not model.opset_import:
        raise UsageError(f"{path}: damaged, or no ONNX file: it holds no graph")
    if graph.sparse_initializer:
        raise UsageError(f"{path}: holds sparse weights, which cannot be examined")
    foreign = (node for node in all_nodes(graph) if node.domain)
    for node in foreign:
        if not node.domain.startswith(NOT_CODE):
            raise UsageError(
                f"{path}: needs the operator {node.domain}.{node.op_type}, which is code outside "
                "of the file: such code is not run"
            )
    return model


def weights_of(path: Path, graph: Any) -> Values:
    """The weights of a graph by name; damaged ones and NaN are refused."""
    from onnx import numpy_helper

    found: Values = {}
    for tensor in graph.initializer:
        try:
            value = numpy_helper.to_array(tensor)
        except Exception as error:  # whatever onnx raises for too few numbers
            raise UsageError(f"{path}: {tensor.name} is damaged ({one_line(error)})") from error
        if value.dtype.kind == "f" and np.isnan(value).any():
            raise UsageError(f"{path}: {tensor.name} holds NaN: training diverged")
        found[tensor.name] = value
    return found


def rate_of(model: Any) -> float | None:
    """The sample rate in Hz that the metadata of a model states, if any."""
    stated = {one.key: one.value for one in model.metadata_props}
    for name in RATES:
        try:
            return float(stated[name])
        except (KeyError, ValueError):
            continue
    return None


def input_of(onnx: Any, value: Any) -> Taken:
    """Name, type and shape of an input of a graph; unknown sizes are names."""
    kind = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:  # a sequence, for example
        dtype = np.dtype(object)
    sizes = [
        size.dim_value if size.HasField("dim_value") else size.dim_param or f"{value.name}.{k}"
        for k, size in enumerate(kind.shape.dim)
    ]
    return Taken(value.name, dtype, tuple(sizes) if kind.HasField("shape") else UNSTATED)
