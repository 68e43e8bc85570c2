"""``asteroid-upsamplers demo-data``: parsing only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .console import seed


def add_demo_data(commands: argparse._SubParsersAction) -> None:
    """The command's parser."""
    parser = commands.add_parser(
        "demo-data",
        help="render demo songs, or MIDI files, in MUSDB18-HQ's layout",
        description="Render songs with the stems drums, bass, other and vocals: demo songs that "
        "are composed here or, with --midi, the MIDI files of a folder. Songs that are there are "
        "kept; MIDI files that cannot be read or lack a stem are named and left out.",
    )
    add = parser.add_argument
    add("root", type=Path, help="folder to write train/ and test/ into")
    train = "training songs (default: 8; with --midi all that are not for testing)"
    add("--n_train", "--n-train", type=int, help=train)
    test = "test songs (default: 2; with --midi a tenth, or those of its folder test)"
    add("--n_test", "--n-test", type=int, help=test)
    length = "length of a song (default: 12; with --midi at most 300)"
    add("--seconds", type=float, help=length)
    chosen = "chooses the songs, and how they are mixed (default 0)"
    add("--seed", type=seed, default=0, help=chosen)
    files = "folder with MIDI files to render, in folders train and test or not"
    add("--midi", type=Path, metavar="DIR", help=files)
    font = "soundfont (SF2) to play with (default: TimGM6mb, which pretty_midi brings along)"
    add("--soundfont", type=Path, metavar="FILE", help=font)
    parser.set_defaults(run=_demo_data)


def _demo_data(**options: Any) -> None:
    from .data import render_demo_set, render_midi_set

    given = {name: value for name, value in options.items() if value is not None}
    (render_midi_set if "midi" in given else render_demo_set)(**given)
