"""Write the comparison to files: tables in several formats, a chart, and a page with all of it.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import json_text, whole_or_nothing
from ..probe.style import Page, Section, png_of
from .chart import CAPTION, draw_comparison
from .models import Reading, ScoredModel, read_models
from .results import tabulate
from .song_by_song import compare_models
from .tables import make_notes, make_tables

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "<": "$<$", ">": "$>$", "|": r"\textbar{}", "[": "{[}", "*": "{*}"},
}


def write_report(
    folders: Sequence[Path], output: Path, title: str = "Results", quoted: bool = False
) -> dict[str, Path]:
    """Write ``<output>.md``, ``.csv``, ``.pairs.csv``, ``.tex``, ``.json``, ``.png``, ``.html``.

    Args:
        folders: Experiments and folders of published museval files, in the order of the rows. What
            cannot be used is left out, with a warning in the log and a note in the report.
        output: Path without an ending, or with one of these, which is dropped.
        title: Heading; it should name the data set.
        quoted: Whether the rows of [1] Table 1 stand among the models, marked as quoted. They are
            comparable on MUSDB18 only.

    Returns:
        The written files by their ending.

    Raises:
        UsageError: If nothing can be used.
    """
    reading = read_models(folders)
    results, pairs = tabulate(reading.models, quoted), compare_models(reading.models)
    png = png_of(draw_comparison(results, reading.models), dpi=150)
    chart = Section("SDR by stem", png=png, caption=CAPTION)
    tables = make_tables(results, pairs, reading.models[0].stems)
    page = Page(title, [chart, *tables], notes=make_notes(results, pairs, reading))
    texts = {
        "md": to_markdown(page),
        "csv": results.to_csv(float_format="%.6g"),
        "pairs.csv": pairs.to_csv(float_format="%.6g", index=False),
        "tex": to_latex(page),
        "json": to_json(page, reading, results, pairs),
    }
    # names of folders may be no text
    contents = {ending: text.encode(errors="replace") for ending, text in texts.items()}
    contents["png"] = png
    endings = [*contents, "html"]
    stem = output.with_suffix("") if output.suffix.strip(".") in endings else output
    written = {ending: stem.with_name(f"{stem.name}.{ending}") for ending in endings}
    for ending, content in contents.items():
        with whole_or_nothing(written[ending]) as partial:
            partial.write_bytes(content)
    page.write(written["html"])
    return written


def to_markdown(page: Page) -> str:
    """The tables, and below them the notes."""
    blocks = [f"### {escape_markdown(page.title)}"]
    for table in page.tables:
        rule = ["---:" if number else "---" for _, number in table.columns]
        rows = [table.rows[0], rule, *(row.values() for row in table.rows)]
        cells = [[escape_markdown(str(cell)) for cell in row] for row in rows]
        blocks += [f"#### {table.title}", "\n".join(f"| {' | '.join(row)} |" for row in cells)]
    blocks.append("\n".join(f"- {escape_markdown(note)}" for note in page.notes))
    return "\n\n".join(blocks) + "\n"


def escape_markdown(text: str) -> str:
    r"""Text as Markdown shows it, in one line.

    Example:
        >>> print(escape_markdown("a|b <script>"))
        a\|b \<script>
    """
    return re.sub(r"([\\|<&*`\[])", r"\\\1", " ".join(text.split()))


def to_latex(page: Page) -> str:
    r"""The tables as floats to ``\input`` into a paper; notes as comments."""
    comments = [r"\usepackage{booktabs}", page.title, *page.notes]
    blocks = ["\n".join(f"% {line}" for line in comments)]
    for table in page.tables:
        escaped = pd.DataFrame(table.rows).map(escape_latex).rename(columns=escape_latex)
        text = escaped.to_latex(
            index=False,
            caption=escape_latex(f"{page.title}: {table.title}"),
            column_format="".join("r" if number else "l" for _, number in table.columns),
        )
        blocks.append(text.replace("\\begin{table}\n", "\\begin{table}\n\\centering\n"))
    return "\n\n".join(blocks)


def escape_latex(text: str) -> str:
    r"""Text as LaTeX sets it.

    Example:
        >>> print(escape_latex("95 % of a_b"))
        95 \% of a\_b
    """
    return "".join(_LATEX.get(character, character) for character in text)


def to_json(page: Page, reading: Reading, results: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Everything: also the folders of each model, its songs, and what was left out.

    ``models``: each a row of :func:`tabulate`, with ``folders`` and ``scores`` (song, stem, metric:
    median over its frames in dB, mean over the seeds). ``pairs``: as of :func:`compare_models`.
    What is missing is ``null``; the level of nothing is -400 dB.
    """
    models = _plain(results, "index")
    for model in reading.models:
        models[model.name]["folders"] = [str(run.folder) for run in model.runs]
        models[model.name]["scores"] = _scores(model)
    content = {"title": page.title, "models": models, "pairs": _plain(pairs, "records")}
    content |= {"notes": page.notes, "left_out": reading.left_out}
    return json_text(content, indent=1)


def _scores(model: ScoredModel) -> dict[str, Any]:
    songs = model.songs.unstack("metric").groupby("track", sort=False)
    return {str(song): _plain(table.droplevel("track"), "index") for song, table in songs}


def _plain(table: pd.DataFrame, orient: Any) -> Any:
    return json.loads(table.to_json(orient=orient, double_precision=15))
