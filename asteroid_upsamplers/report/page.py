"""Write the comparison to files: tables in several formats, a figure, a page that holds all of it.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..files import whole_or_nothing
from .collect import tabulate
from .figure import draw_comparison
from .formats import to_csv, to_json, to_latex, to_markdown
from .song_by_song import compare_systems
from .systems import read_systems
from .table import make_notes, make_tables

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
h2 { font-size: 1.1rem; margin: 1.5rem 0 .3rem; }
img { max-width: min(100%, 64rem); margin: 1rem 0; }
.notes { color: #444; font-size: 13px; }
</style>
<h1>{{ title }}</h1>
<img alt="SDR of each system, stem and song" src="data:image/png;base64,{{ figure }}">
{% for table in tables %}<h2>{{ table.title }}</h2>
<div style="overflow-x: auto"><table>
<thead><tr>{% for cell in table.header %}<th>{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% endfor %}<ul class="notes">{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
</html>
"""


def write_report(
    folders: Sequence[Path], output: Path, title: str = "Results", quoted: bool = False
) -> dict[str, Path]:
    """Write ``<output>.md``, ``.csv``, ``.pairs.csv``, ``.tex``, ``.json``, ``.png``, ``.html``.

    Args:
        folders: Experiments and folders of published museval files, in the order of the rows. What
            cannot be used is left out, with a warning in the log and a note in the report.
        output: Path without an ending, or with one of these, which is dropped.
        title: Heading; it should name the data set.
        quoted: Whether the rows of [1] Table 1 stand among the systems, marked as quoted. They
            hold for MUSDB18 only, so it is the caller who knows.

    Returns:
        The written files by their ending.

    Raises:
        UsageError: If nothing can be used.
    """
    reading = read_systems(folders)
    results = tabulate(reading.systems, quoted)
    pairs = compare_systems(reading.systems)
    tables = make_tables(results, pairs)
    notes = make_notes(results, pairs, reading.left_out)
    png = _png(draw_comparison(results, reading.systems))
    page = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    figure = base64.b64encode(png).decode()
    texts = {
        "md": to_markdown(title, tables, notes),
        "csv": to_csv(results),
        "pairs.csv": to_csv(pairs),
        "tex": to_latex(title, tables, notes),
        "json": to_json(title, reading, results, pairs, notes),
        "html": page.render(title=title, tables=tables, figure=figure, notes=notes),
    }
    contents = {ending: text.encode() for ending, text in texts.items()}
    written = {}
    for ending, content in {**contents, "png": png}.items():
        written[ending] = output.with_suffix(f".{ending}")
        with whole_or_nothing(written[ending]) as partial:
            partial.write_bytes(content)
    return written


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    return buffer.getvalue()
