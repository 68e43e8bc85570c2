"""Networks as ONNX files."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm
from torch.nn.utils.weight_norm import WeightNorm

from .. import layers
from ..errors import UsageError, one_line
from ..files import whole_or_nothing
from ..layers.measured import copied, damaged_tensor
from .without_transposed import without_transposed

OPSET = 18
"""Version of ONNX's operators; onnxruntime runs it from 1.14 on."""

TOLERANCE = 1e-5
"""How far the file's output may be from the network's, as a share of its largest sample."""

SAMPLES, FRAMES, MOST_SIGNALS = 4096, 256, 8
"""Length of the example, and that for an input of more channels than a signal has."""

NEEDED = "writing ONNX files needs onnx and onnxruntime: pip install asteroid-upsamplers[onnx]"


def export_onnx(
    network: nn.Module,
    path: str | os.PathLike,
    example: Tensor | Sequence[int] | None = None,
    *,
    conv_transpose: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a network to an ONNX file that takes any batch and any length.

    What was written is run by onnxruntime, at three lengths and batches, before the file appears:
    it gives what the network gives, to 1e-5 of the largest sample. The network itself stays as it
    is. Its copy is exported in evaluation mode, in float32, with weights that are computed (weight
    norm) computed once. The file calls the input ``input`` and the output ``output``.

    Args:
        network: A layer, a decoder or a model: one tensor in, one out, with the batch first and
            time last.
        path: Of the file to write; its folder exists.
        example: An input, or its shape; if ``None``, 4096 samples of as many channels as the
            network's first layer takes, or 256 frames if these are more than 8.
        conv_transpose: ``False`` writes each transposed convolution as what it is equal to, a
            convolution and a shuffle, for programs that have no operator ``ConvTranspose``.
        overwrite: Whether a file is replaced.

    Returns:
        The path.

    Raises:
        UsageError: (a ``ValueError``) if the file exists, onnx or onnxruntime is missing, the
            network has hooks, ONNX cannot say what it does, or the file would give something else.

    Example:
        >>> import tempfile
        >>> from asteroid_upsamplers import layers
        >>> layer = layers.make("nearest", 2, 1, stride=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_onnx(layer, Path(folder, "layer.onnx")).name
        'layer.onnx'
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: name another file, or pass overwrite=True")
    if not isinstance(network, nn.Module):
        raise UsageError(f"network must be an nn.Module, not {type(network).__name__}")
    network = getattr(network, "_orig_mod", network)  # of a compiled one
    twin = _plain_copy(network)
    x = _example(network, example)
    with _naming(network):
        program = _program(twin, x)
        if not conv_transpose:
            program = without_transposed(program)
        _check(program, twin, x)
        program = _with_rate(program, getattr(network, "sample_rate", None))
    with whole_or_nothing(path) as scratch:
        scratch.write_bytes(program)
    return path


@contextmanager
def _naming(network: nn.Module) -> Iterator[None]:
    """Whatever is raised within becomes one line with the network's name."""
    try:
        yield
    except ImportError as error:
        raise UsageError(NEEDED) from error
    except Exception as error:  # of a stranger's network, of torch's exporter, of onnxruntime
        raise UsageError(
            f"{type(network).__name__} cannot be exported: {one_line(error)}"
        ) from error


def _plain_copy(network: nn.Module) -> nn.Module:
    """A copy for evaluation whose weights are plain parameters."""
    for name, module in network.named_modules():
        norms = [h for h in module._forward_pre_hooks.values() if isinstance(h, WeightNorm)]
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks) - len(norms)
        if hooks:
            raise UsageError(
                f"{name or type(module).__name__} has hooks, which no file keeps: remove them "
                "before the export"
            )
        if isinstance(module, layers.FoldedUpsampler):
            raise UsageError(f"{name} is folded: export the model before fold_for_inference")
        if damage := damaged_tensor(module):
            raise UsageError(f"{name or type(module).__name__}: its {damage}")
    twin = nn.Sequential(copied(network).eval().float().cpu())  # the network may be a layer itself
    for module in twin.modules():
        _compute_weights(module)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, (layers.LazyWavelet, layers.Haar, layers.Lifting)):
                setattr(module, name, layers.to_subpixel(child))
    return twin[0]


@torch.no_grad()
def _compute_weights(module: nn.Module) -> None:
    """Make parameters of what is computed from others."""
    norms = [h.name for h in module._forward_pre_hooks.values() if isinstance(h, WeightNorm)]
    for name in norms:
        remove_weight_norm(module, name)
    if parametrize.is_parametrized(module):
        names = cast(nn.ModuleDict, module.parametrizations)
        values = {name: getattr(module, name) for name in names}
        # torch's own removal would take the names from the class, which the original shares
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))
    if isinstance(module, (layers.Subpixel, layers.Transposed)) and module.tone_free:
        rows = isinstance(module, layers.Subpixel)
        module.weight.copy_(layers.equal_phase_gains(module.weight, module.stride, rows))
        if rows and module.bias is not None:
            module.bias.copy_(layers.equal_phase_biases(module.bias, module.stride))
        module.tone_free = False


def _example(network: nn.Module, example: Tensor | Sequence[int] | None) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if isinstance(example, Tensor):
        return example.detach().float().cpu()
    if example is None:
        named = (getattr(network, name, None) for name in ("in_channels", "audio_channels"))
        convolutions = (m for m in network.modules() if isinstance(m, (nn.Conv1d, nn.Linear)))
        first = (getattr(m, "in_channels", None) for m in convolutions)
        channels = next((c for c in (*named, *first) if isinstance(c, int)), 1)
        example = (1, channels, SAMPLES if channels <= MOST_SIGNALS else FRAMES)
    if len(example) < 2 or min(example) < 1:
        raise UsageError(f"example is {tuple(example)}: must be (batch, channels, time)")
    return torch.randn(*example, generator=generator)


def _program(network: nn.Module, x: Tensor) -> bytes:
    """The ONNX file's content. torch's newer exporter fixes the length wherever an LSTM stands."""
    free = {"input": {0: "batch", x.dim() - 1: "time"}, "output": {0: "batch"}}
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing; what was traced is checked
        torch.onnx.export(
            network,
            (x,),
            cast(Any, file),  # torch's hint knows names only
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=free,
            opset_version=OPSET,
        )
    return file.getvalue()


def _with_rate(program: bytes, sample_rate: Any) -> bytes:
    """With the sample rate as a property of the file, if the network states one."""
    if not isinstance(sample_rate, (int, float)):
        return program
    import onnx

    model = onnx.load_from_string(program)
    onnx.helper.set_model_props(model, {"sample_rate": f"{sample_rate:g}"})
    return model.SerializeToString()


@torch.no_grad()
def _check(program: bytes, network: nn.Module, x: Tensor) -> None:
    """Run the file beside the network.

    Raises:
        ValueError: If they differ.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    time = x.shape[-1]
    for batch, length in ((len(x), time), (1, time + time // 2 + 1), (3, 2 * time + 3)):
        shape = (batch, *x.shape[1:-1], length)
        signal = x if shape == tuple(x.shape) else torch.randn(shape, generator=generator)
        wanted = network(signal)
        found = torch.from_numpy(session.run(None, {"input": signal.numpy()})[0])
        if found.shape != wanted.shape:
            raise ValueError(
                f"an input of shape {shape} gives {tuple(found.shape)} in the file and "
                f"{tuple(wanted.shape)} in torch: something in it depends on the length"
            )
        away = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))
        if not away <= TOLERANCE:
            raise ValueError(
                f"for an input of shape {shape} the file's output is {away:.1e} of the largest "
                f"sample away from torch's, more than {TOLERANCE:g}"
            )
