"""Figures quoted from [1], Table 1; never mixed with measured ones.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuotedRow:
    """A row of Table 1: SDR in dB on MUSDB18, seconds an epoch on four V100s, parameters."""

    label: str
    sdr: float
    seconds_per_epoch: float | None
    parameters: str


TABLE_1 = {
    ("transposed", False, 1): QuotedRow("transposed CNN (full overlap)", 5.35, 319, "703M"),
    ("nearest", False, 1): QuotedRow("nearest neighbor interpolation", 5.17, 423, "716M"),
    ("linear", False, 1): QuotedRow("linear interpolation", 4.62, 430, "716M"),
    ("subpixel", False, 1): QuotedRow("subpixel CNN", 5.38, 311, "729M"),
    ("transposed", True, 1): QuotedRow("modified, transposed CNN", 5.37, 326, "703M"),
    ("subpixel", True, 1): QuotedRow("modified, subpixel CNN", 5.38, 315, "729M"),
    ("transposed", False, 0): QuotedRow("Demucs: transposed convolution", 5.34, None, "648M"),
}
"""Rows by upsampler, modification, and context of the encoder's GLU convolution."""
