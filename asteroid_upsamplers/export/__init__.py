"""Networks as files that programs without torch can run."""

from .onnx_program import export_onnx

__all__ = ["export_onnx"]
