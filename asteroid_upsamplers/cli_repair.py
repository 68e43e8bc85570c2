"""``asteroid-upsamplers repair``: parsing only."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

from .console import json_object, print_json, print_lines, shape, write
from .errors import UsageError


def add_repair(commands: argparse._SubParsersAction) -> None:
    """The command's parser."""
    parser = commands.add_parser(
        "repair",
        help="take the tones out of a trained network",
        description="Change the upsampling layers of a trained network so that they make no tones, "
        "and measure what that is worth before anything is written. Exit status: 0 if the repair "
        "is safe; 1 if it costs quality or the network needs distillation (the file is written all "
        "the same); 2 for wrong use. What was done is stored in the file, and --undo takes it "
        "back, bit for bit.",
    )
    add = parser.add_argument
    add("target", metavar="MODEL", help="Asteroid model file, checkpoint of Demucs v1 or v2, or "
        "package.module:factory of a network, which is code and is run")  # fmt: skip
    written = "file to write: a model file, or of a factory a state dict (default: none)"
    add("-o", "--out", dest="output_file", type=Path, metavar="OUT", help=written)
    names = ("-f", "--force_overwrite", "--force-overwrite")
    add(*names, action="store_true", help="replace OUT if it exists")
    add("--undo", action="store_true", help="MODEL was repaired: write its original weights to OUT")
    how = (
        "phases: the least change of the weights; calibrated: the least change of the output for "
        "--audio; notch: the tones are taken out by the last convolution; distil: learn the old "
        "output again, on --audio; swap: layers of another family, to be trained (default: phases)"
    )
    add("--method", default="phases", metavar="NAME", help=how)
    settings = "settings of the method, such as '{\"steps\": 600}'"
    add("--options", type=json_object, metavar="JSON", help=settings)
    order = "0: a constant makes no tone (default); 1: a ramp makes none either"
    add("--order", type=int, choices=(0, 1), help=order)
    layers = "names of the layers to repair, or of what holds them (default: all)"
    add("--layers", type=_names, metavar="NAME,NAME", help=layers)
    search = "look for the layers and the order that leave the least tones and are safe"
    add("--search", dest="search_best", action="store_true", help=search)
    audio = "what the network works on: one half for the method, the other for the verdict"
    add("--audio", type=Path, nargs="+", default=(), metavar="FILE", help=audio)
    songs = "set in MUSDB18-HQ's layout: SDR of its test songs, before and after"
    add("--songs", type=Path, metavar="DIR", help=songs)
    add("--json", action="store_true", help="print the results as JSON")
    page = "also write a page with pictures and sounds, before and after"
    add("--html", dest="page", type=Path, metavar="FILE", help=page)
    rate = "sample rate of the network's output in Hz, if the network does not state it"
    add("--sample_rate", type=float, help=rate)
    sizes = "shape of the test signals, batch included, if the network does not state its input"
    add("--input_shape", type=shape, metavar="1,2,N", help=sizes)
    seconds = "length of the test signals in seconds, if --input_shape is omitted (default 6)"
    add("--seconds", type=float, help=seconds)
    add("--settings", type=json_object, metavar="JSON", help="arguments of the factory")
    add("--output", metavar="KEY", help="which of several outputs of the network is the audio")
    add("--silence", type=float, metavar="VALUE", help="value of its input that means silence")
    parser.set_defaults(run=_repair)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _repair(undo: bool, json: bool, **options: Any) -> None:
    from . import repair

    if undo:
        target, *files = (
            options.pop(name) for name in ("target", "output_file", "force_overwrite")
        )
        if options.pop("method") != "phases" or any(value for value in options.values()):
            raise UsageError(f"{target}: --undo goes with -o, -f and --json, nothing else")
        written = repair.run_undo(target, *files)
        print_json({"written": str(written)}) if json else print_lines([written])
        return
    with contextlib.redirect_stdout(sys.stderr):  # what a stranger's network prints
        result = repair.run_repair(**options)
    print_json(result.to_dict()) if json else write(str(result.page))
    for path in filter(None, (options["page"], result.written)):
        logging.getLogger(__name__).info("written: %s", path)
    sys.exit(int(not result.is_safe))
