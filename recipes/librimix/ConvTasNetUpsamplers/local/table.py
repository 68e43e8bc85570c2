"""Stage 3: the experiments of a run side by side, as Markdown and CSV."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from asteroid_upsamplers.errors import UsageError, one_line_errors


def row(exp_dir):
    """What the table says of one experiment."""
    path = exp_dir / "evaluation.json"
    if not path.exists():
        raise UsageError(f"{path}: not there; run stage 2")
    result = json.loads(path.read_text())
    scores, tones = result["si_sdr_improvement_db"], result["tones"]
    lines = tones["noise_prominence_db"].values()
    error = scores["standard_error"]  # null for a single mixture
    error = "" if error is None else f" ± {error:.2f}"
    return {
        "experiment": exp_dir.name,
        "SI-SDRi (dB)": f"{scores['mean']:.2f}{error}",
        "tones of a constant (dB)": _level(tones["constant_db"]),
        "its tonal share": f"{100 * tones['tonal_fraction']:.0f} %",
        "lines in noise (dB)": f"{min(lines):.1f} to {max(lines):.1f}",
        "parameters": f"{result['parameters']:,}",
    }


def _level(decibels):
    return f"{decibels:.1f}" if decibels > -120 else "none"


def main(exp_dirs, out):
    """Write ``<out>.md`` and ``<out>.csv``, and print the first."""
    rows = pd.DataFrame([row(exp_dir) for exp_dir in exp_dirs])
    lines = ["| " + " | ".join(cells) + " |" for cells in [rows.columns, *rows.to_numpy()]]
    lines.insert(1, "| --- |" + " ---: |" * (rows.shape[1] - 1))
    text = "\n".join(lines) + "\n"
    out.with_suffix(".md").write_text(text)
    rows.to_csv(out.with_suffix(".csv"), index=False)
    sys.stdout.write(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare scored experiments.")
    parser.add_argument("exp_dirs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="path without ending")
    arguments = parser.parse_args()
    with one_line_errors():
        main(arguments.exp_dirs, arguments.out)
