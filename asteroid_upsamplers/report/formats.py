"""The same tables as markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .systems import Reading
from .table import Table

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "<": "$<$", ">": "$>$", "|": r"\textbar{}"},
}


def to_markdown(title: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """The tables, and below them what their figures are and where they come from."""
    blocks = [f"### {title}"]
    for table in tables:
        lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
        blocks.append(f"#### {table.title}")
        blocks.append("\n".join(_markdown_line(cells) for cells in lines))
    blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def to_latex(title: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    r"""The tables as floats to ``\input`` into a paper; notes as comments."""
    lines = [r"% \usepackage{booktabs}", f"% {title}", *(f"% {note}" for note in notes)]
    for table in tables:
        columns = "l" + "r" * (len(table.header) - 1)
        lines += ["", r"\begin{table}", r"\centering"]
        lines += [rf"\caption{{{escape_latex(f'{title}: {table.title}')}}}"]
        lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_line(table.header)]
        lines += [r"\midrule", *(_latex_line(row) for row in table.rows), r"\bottomrule"]
        lines += [r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    r"""Text as LaTeX sets it.

    Example:
        >>> print(escape_latex("95 % of a_b"))
        95 \% of a\_b
    """
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_line(cells: Sequence[str]) -> str:
    # a row that begins with [ would be taken for the distance that the line break before it takes
    escaped = [escape_latex(cell) for cell in cells]
    escaped[0] = f"{{}}{escaped[0]}" if escaped[0].startswith(("[", "*")) else escaped[0]
    return " & ".join(escaped) + r" \\"


def to_csv(table: pd.DataFrame) -> str:
    """Every column, with the index if that has a name."""
    return table.to_csv(float_format="%.6g", index=table.index.name is not None)


def to_json(
    title: str, reading: Reading, results: pd.DataFrame, pairs: pd.DataFrame, notes: Sequence[str]
) -> str:
    """Everything: also the folders of each system, its songs, and what was left out.

    ``systems``: each a row of :func:`tabulate`, with ``folders`` and ``scores`` (song, stem,
    metric: median over its frames in dB, mean over the seeds). ``pairs``: as of
    :func:`compare_systems`. What is missing is ``null``; infinities are the texts
    ``inf`` and ``-inf``.
    """
    systems = {str(name): row.to_dict() for name, row in results.iterrows()}
    for system in reading.systems:
        systems[system.name]["folders"] = [str(run.folder) for run in system.runs]
        systems[system.name]["scores"] = _songs(system.songs)
    content = {"title": title, "systems": systems, "pairs": pairs.to_dict("records")}
    content |= {"notes": list(notes), "left_out": reading.left_out}
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _songs(medians: pd.Series) -> dict[str, Any]:
    songs: dict[str, Any] = {}
    for (metric, stem, song), value in medians.items():
        songs.setdefault(song, {}).setdefault(stem, {})[metric] = value
    return songs


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value
