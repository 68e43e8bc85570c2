"""Networks in ONNX files, run by onnxruntime."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError, one_line
from .onnx_read import (
    UNSTATED,
    Values,
    all_nodes,
    input_of,
    inputs_of,
    rate_of,
    read_model,
    weights_of,
)

NO_ONNX = "ONNX files need onnx and onnxruntime: pip install asteroid-upsamplers[onnx]"
DEFAULT = ("", "ai.onnx")
"""Names of ONNX's own operator set."""

RANDOM = ("Random", "Bernoulli", "Multinomial")


class OnnxNetwork:
    """An ONNX file as a function from a signal to its outputs by their names.

    Args:
        path: Of the file; weights in files beside it are found.
        values: Of further inputs than the signal, by their names; by default they are zeros,
            or the signal's length if their name says that they are lengths.

    Attributes:
        nodes: Of the graph, in the order in which they can run.
        weights: Numbers in the file, by their names.
        signal: The input that is the signal.
        outputs: Names of the outputs.
        version: Of ONNX's operators.
        sample_rate: In Hz, if the file states it.

    Raises:
        UsageError: If onnxruntime is not installed, or the file cannot be read or run, holds NaN,
            needs code that is not in it, or takes no signal.
    """

    def __init__(self, path: Path, values: Mapping[str, Any] | None = None):
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise UsageError(f"{path}: {NO_ONNX}") from error
        self.path, self._onnx, self._runtime = path, onnx, onnxruntime
        _share_memory()
        self._model = read_model(path)
        graph = self._model.graph
        self.nodes, self.weights = list(graph.node), weights_of(path, graph)
        self._makers = {name: k for k, node in enumerate(self.nodes) for name in node.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = [v.name for v in graph.output if v.name not in self.weights]
        self.version = max(o.version for o in self._model.opset_import if o.domain in DEFAULT)
        self.random = any(node.op_type.startswith(RANDOM) for node in all_nodes(graph))
        self.sample_rate = rate_of(self._model)
        self._sessions: dict[Any, Any] = {}
        self._choose_inputs(values or {})
        try:
            self._session(self.outputs, {t.name: t.dtype for t in (self.signal, *self.further)})
        except ValueError as error:
            raise UsageError(f"{path}: onnxruntime cannot run it: {error}") from error

    @property
    def remarks(self) -> list[str]:
        """What is assumed of its inputs."""
        assumed = [one for one in self.further if one.name not in self._values]
        names = ", ".join(f"{one} is {'its length' if one.is_length else '0'}" for one in assumed)
        return [f"of the inputs besides the signal, {names} (--settings)"] if names else []

    def shape(self, samples: int, frames: int, most_channels: int) -> tuple[int, ...]:
        """Of a test signal of so many samples, or of so many frames if it has more channels."""
        sizes, time = self.signal.sizes, self.signal.time
        if sizes == UNSTATED:
            raise UsageError(f"{self.path}: states no shape of its input (--input_shape)")
        fixed = [size if isinstance(size, int) else 1 for size in sizes]
        if time is not None:
            fixed[time] = frames if max(fixed[1:], default=1) > most_channels else samples
        return tuple(fixed)

    def __call__(self, x: Tensor) -> Values:
        return self.evaluate(self.outputs, self.inputs(x))

    def inputs(self, x: Tensor) -> Values:
        """All inputs for a signal."""
        time = x.shape[-1 if self.signal.time is None else self.signal.time]
        free = dict(zip(self.signal.sizes, x.shape, strict=False))
        found = {self.signal.name: x.detach().cpu().numpy().astype(self.signal.dtype)}
        for one in self.further:
            sizes = [
                size if isinstance(size, int) else free.get(size, time if axis else 1)
                for axis, size in enumerate(one.sizes)
            ]
            value = np.full(sizes, time if one.is_length else 0).astype(one.dtype)
            found[one.name] = self._values.get(one.name, value)
        return found

    def evaluate(self, wanted: Sequence[str], given: Values) -> Values:
        """Some tensors of the graph from others.

        Raises:
            ValueError: What onnxruntime says, in one line.
        """
        found = {name: given[name] for name in wanted if name in given}
        missing = [name for name in wanted if name not in given]
        if missing:
            session = self._session(missing, {n: _dtype(value) for n, value in given.items()})
            feeds = {one.name: given[one.name] for one in session.get_inputs()}
            try:
                found |= zip(missing, session.run(missing, feeds), strict=True)
            except Exception as error:  # whatever onnxruntime raises
                raise ValueError("; ".join([one_line(error), *self.remarks])) from None
        return found

    def alone(self, node: Any, values: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """What a node makes of other values than its own."""
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend("" if v is None else f"given{k}" for k, v in enumerate(values))
        feeds = {f"given{k}": v for k, v in enumerate(values) if v is not None}
        dtypes = {name: value.dtype for name, value in feeds.items()}
        outputs = [name for name in node.output if name]
        return self._started(self._model_of([copy], dtypes, outputs, [])).run(None, feeds)

    def _session(self, wanted: Sequence[str], given: Mapping[str, np.dtype]) -> Any:
        """Runs the part of the graph between two sets of tensors."""
        key = tuple(wanted), tuple(sorted((name, str(dtype)) for name, dtype in given.items()))
        if key in self._sessions:
            return self._sessions[key]
        if self.random:
            self._runtime.set_seed(int(torch.randint(2**31 - 1, ())))
        try:
            session = self._started(self._part(wanted, given))
        except Exception as error:  # whatever protobuf or onnxruntime raises
            raise ValueError(one_line(error)) from None
        if not self.random:  # else each session draws other numbers
            self._sessions[key] = session
        return session

    def _started(self, model: Any) -> Any:
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.intra_op_num_threads = torch.get_num_threads()
        return self._runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _part(self, wanted: Sequence[str], given: Mapping[str, np.dtype]) -> Any:
        needed: set[int] = set()
        names, waiting = set(wanted), list(wanted)
        while waiting:
            name = waiting.pop()
            maker = self._makers.get(name)
            if name in given or maker is None or maker in needed:
                continue
            needed.add(maker)
            waiting += (taken := inputs_of(self.nodes[maker]))
            names |= set(taken)
        return self._model_of(
            [self.nodes[k] for k in sorted(needed)],
            {name: given[name] for name in sorted(names & given.keys())},
            wanted,
            [self._initializers[name] for name in sorted(names & self._initializers.keys())],
        )

    def _model_of(
        self, nodes: list[Any], given: Mapping[str, np.dtype], wanted: Sequence[str], weights: Any
    ) -> Any:
        helper = self._onnx.helper
        kinds = {name: helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in given.items()}
        inputs = [helper.make_tensor_value_info(*kind, None) for kind in kinds.items()]
        outputs = [self._onnx.ValueInfoProto(name=name) for name in wanted]
        graph = helper.make_graph(nodes, "part", inputs, outputs, weights)
        versions = self._model.opset_import
        return helper.make_model(graph, opset_imports=versions, ir_version=self._model.ir_version)

    def _choose_inputs(self, values: Mapping[str, Any]) -> None:
        """Which input is the signal: of floats, with a free time axis if there is one."""
        taken = [
            input_of(self._onnx, value)
            for value in self._model.graph.input
            if value.name not in self.weights
        ]
        names = ", ".join(map(str, taken))
        for name in values:
            if name not in [one.name for one in taken]:
                raise UsageError(f"{self.path}: has no input {name!r}; its inputs are {names}")
        signals = [one for one in taken if one.is_signal and one.name not in values]
        if not signals:
            raise UsageError(
                f"{self.path}: takes no signal (floats with a time axis); its inputs are "
                f"{names or 'none'} (pass a package.module:factory that runs it on one)"
            )
        self.signal = next((one for one in signals if one.time is not None), signals[0])
        self.further = [one for one in taken if one is not self.signal]
        self._values = {}
        for one in (one for one in self.further if one.name in values):
            try:
                self._values[one.name] = np.asarray(values[one.name]).astype(one.dtype)
            except (ValueError, TypeError) as error:
                raise UsageError(f"{self.path}: {one} cannot be {values[one.name]}") from error


@functools.cache
def _share_memory() -> None:
    """Sessions take memory that others do not use any more; else each would keep its own."""
    import onnxruntime as runtime

    arena, usual = runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, runtime.OrtMemType.DEFAULT
    runtime.create_and_register_allocator(runtime.OrtMemoryInfo("Cpu", arena, 0, usual), None)


def _dtype(value: Any) -> np.dtype:
    return value.dtype if isinstance(value, np.ndarray) else np.dtype(object)
