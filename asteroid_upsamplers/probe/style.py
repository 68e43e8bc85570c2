"""The one style of all HTML pages of the package: self-contained, with sortable tables.

Pictures and sounds are embedded, so that a page can be sent as one file.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files import whole_or_nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

NUMBER = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?M?( (dB|Hz|%|s|± [\d.]+))?|-|none|unknown|n/a|nan|")


@dataclass(frozen=True)
class Section:
    """One part of a page; what is empty is left out.

    Args:
        title: Heading.
        text: A paragraph below the heading.
        rows: Rows of a table, each from column name to cell, all with the same columns (as
            ``DataFrame.to_dict("records")`` gives them). Columns of numbers are right-aligned.
        png: A picture, such as :func:`png_of` makes.
        wav: A sound to play.
        caption: Below the picture or sound.
    """

    title: str
    text: str = ""
    rows: Sequence[Mapping[str, object]] = ()
    png: bytes = b""
    wav: bytes = b""
    caption: str = ""

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """The name of each column, and whether it holds numbers."""
        names = list(self.rows[0]) if self.rows else []
        return [(n, all(NUMBER.fullmatch(str(row[n])) for row in self.rows)) for n in names]

    def __str__(self) -> str:
        lines = [[name for name, _ in self.columns]]
        lines += [[str(cell) for cell in row.values()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        cells = [[cell.ljust(n) for cell, n in zip(line, widths, strict=True)] for line in lines]
        table = ["  ".join(line).rstrip() for line in cells]
        return "\n".join([self.title, self.text, *table]).strip()


@dataclass(frozen=True)
class Page:
    """Results for people, as text for the terminal (``str(page)``) or as HTML.

    Args:
        title: Heading, and title of the browser's window.
        sections: In their order.
        summary: The result in one sentence, set apart.
        text: A paragraph below the heading.
        notes: A list at the end.
        advice: What to do about it, after the summary.
    """

    title: str
    sections: Sequence[Section]
    summary: str = ""
    text: str = ""
    notes: Sequence[str] = ()
    advice: str = ""

    @property
    def tables(self) -> list[Section]:
        """The sections that hold one."""
        return [section for section in self.sections if section.rows]

    def __str__(self) -> str:
        notes = [f"note: {note}" for note in self.notes]
        parts = [f"{self.title}\n{self.text}", *map(str, self.sections), self.summary]
        parts += [*([f"What to do: {self.advice}"] if self.advice else []), *notes]
        return "\n\n".join(parts) + "\n"

    def write(
        self, path: Path, pictures: Sequence[Section] = (), first: Sequence[Section] = ()
    ) -> None:
        """Write the page as HTML.

        Args:
            path: File to write.
            pictures: Sections of pictures and sounds that follow the page's own.
            first: Others, which come before these, after the summary.
        """
        import jinja2

        if path.is_dir():
            raise UsageError(f"{path}: is a folder, must be the name of a file")

        template = Path(__file__).with_name("style.html.j2").read_text("utf-8")
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
        content = vars(self) | {"first": first, "sections": [*self.sections, *pictures]}
        with whole_or_nothing(path) as partial:
            text = environment.from_string(template).render(content)
            partial.write_bytes(text.encode(errors="replace"))  # names of files may be no text


def name_in_legend(legend: Legend, names: Sequence[str]) -> None:
    """Write names into a legend as they are: Matplotlib leaves out those that begin with _, and
    takes $ for formulas. Long ones get several lines.
    """
    for text, name in zip(legend.get_texts(), names, strict=True):
        short = name if len(name) < 120 else f"{name[:60]} ... {name[-55:]}"
        text.set_parse_math(False)
        text.set_text(textwrap.fill(short, 40))


def png_of(figure: Figure, dpi: int = 130) -> bytes:
    """A matplotlib figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
