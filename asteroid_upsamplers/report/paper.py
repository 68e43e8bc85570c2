"""Figures quoted from [1], Table 1; never mixed with measured ones.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class QuotedRow(NamedTuple):
    """A row of Table 1: SDR in dB on MUSDB18, seconds an epoch on four V100s, parameters."""

    label: str
    sdr: float
    seconds_per_epoch: float | None
    parameters: str

    def columns(self) -> dict[str, Any]:
        """The values as the columns of :func:`tabulate` that hold what the paper prints."""
        return {
            "paper_sdr": self.sdr,
            "paper_seconds_per_epoch": self.seconds_per_epoch,
            "paper_parameters": self.parameters,
        }


TABLE_1 = {
    ("transposed", False, 1): QuotedRow("transposed CNN (full overlap)", 5.35, 319, "703M"),
    ("nearest", False, 1): QuotedRow("nearest neighbor interpolation", 5.17, 423, "716M"),
    ("linear", False, 1): QuotedRow("linear interpolation", 4.62, 430, "716M"),
    ("subpixel", False, 1): QuotedRow("subpixel CNN", 5.38, 311, "729M"),
    ("transposed", True, 1): QuotedRow("modified, transposed CNN", 5.37, 326, "703M"),
    ("subpixel", True, 1): QuotedRow("modified, subpixel CNN", 5.38, 315, "729M"),
    ("transposed", False, 0): QuotedRow("Demucs: transposed convolution", 5.34, None, "648M"),
}
"""Rows of Demucs-like models by upsampler, modification, and context of the encoder's GLU."""

OTHERS = {
    ("WaveUNet", "linear"): QuotedRow("Wave-U-Net", 3.23, None, "10M"),
    ("OpenUnmix", None): QuotedRow("Open-Unmix", 5.36, None, "8.9M"),
    ("SamsNet", "transposed"): QuotedRow("Sams-Net", 5.65, None, "3.7M"),
}
"""Rows of other networks, by network and upsampler."""


def quote(model: dict[str, Any]) -> QuotedRow | None:
    """The row for the settings in section ``model`` of a ``conf.yml``; keys may be missing.

    ``None`` where Table 1 has no such row: another network, kernel size or upsampler.
    """
    name = model.get("name", "DemucsLike")
    if name != "DemucsLike":
        return OTHERS.get((name, model.get("upsampler")))
    key = (model.get("upsampler"), model.get("modified"), model.get("encoder_context"))
    rows: dict[Any, QuotedRow] = {**TABLE_1}
    return None if model.get("upsampler_kernel_size") else rows.get(key)


def quoted_rows() -> dict[str, QuotedRow]:
    """All ten rows by name, each marked as quoted: ``Open-Unmix (quoted)``."""
    return {f"{row.label} (quoted)": row for row in (*TABLE_1.values(), *OTHERS.values())}
