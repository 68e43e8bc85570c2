"""Write the comparison to files: markdown, CSV, a figure, and a page that holds all of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt

from ..files import whole_or_nothing
from .collect import collect
from .figure import draw_comparison
from .table import notes, to_csv, to_markdown

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 124rem; margin: 2rem auto; }
body { padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid #ccc; text-align: right; }
th { vertical-align: bottom; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: min(100%, 64rem); margin: 1rem 0; }
.notes { color: #444; font-size: 13px; }
</style>
<h1>{{ title }}</h1>
<div style="overflow-x: auto"><table>
<thead><tr>{% for cell in header %}<th>{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
<img alt="SDR of each system and stem" src="data:image/png;base64,{{ figure }}">
<ul class="notes">{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
</html>
"""


def write_report(
    exp_dirs: Sequence[Path], output: Path, title: str = "Demucs-like models"
) -> dict[str, Path]:
    """Write ``<output>.md``, ``.csv``, ``.png`` and ``.html``.

    Args:
        exp_dirs: Experiment folders, in the order of the rows.
        output: Path without an ending, or with one of these, which is dropped.
        title: Heading; it should name the data set.

    Returns:
        The written files by their ending.

    Raises:
        UsageError: If a folder holds no scores.
    """
    results = collect(exp_dirs)
    markdown = to_markdown(results, title)
    buffer = io.BytesIO()
    figure = draw_comparison(results)
    figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    header, _, *rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in markdown.splitlines()
        if line.startswith("|")
    ]
    page = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    html = page.render(
        title=title,
        header=header,
        rows=rows,
        figure=base64.b64encode(buffer.getvalue()).decode(),
        notes=notes(results),
    )
    contents = {"md": markdown.encode(), "csv": to_csv(results).encode()}
    contents |= {"png": buffer.getvalue(), "html": html.encode()}
    written = {}
    for ending, content in contents.items():
        written[ending] = output.with_suffix(f".{ending}")
        with whole_or_nothing(written[ending]) as partial:
            partial.write_bytes(content)
    return written
