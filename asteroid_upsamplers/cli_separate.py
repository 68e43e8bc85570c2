"""``asteroid-upsamplers separate``: parsing only."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

from .console import print_json, print_lines
from .errors import UsageError


def add_separate(commands: argparse._SubParsersAction) -> None:
    """The command's parser."""
    parser = commands.add_parser(
        "separate",
        help="separate audio files with a trained model",
        description="Write NAME_SOURCE.wav for every file: 32-bit float at the file's own sample "
        "rate, not rescaled. Files that exist are kept. With --stream, separate standard input "
        "live, and write the channels of all sources side by side to standard output.",
    )
    add = parser.add_argument
    add("model", type=Path, help="file of any Asteroid model, such as best_model.pth")
    add(
        "paths",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="audio file of any format, or a folder, which is searched for audio files",
    )
    folder = "folder to write to (default: beside each file)"
    add("-o", "--output_dir", "--output-dir", type=Path, help=folder)
    add_force(parser)
    add("-d", "--device", help="such as cuda:0 (default: a GPU if there is one)")
    chunk = "length of the chunks that a file is cut into (default: 10; inf: the whole file)"
    add("--chunk", type=float, default=10.0, metavar="SECONDS", help=chunk)
    overlap = "share of a chunk that it has in common with the next, 0 to 0.5 (default: 0.25)"
    add("--overlap", type=float, default=0.25, metavar="SHARE", help=overlap)
    shifts = "average the estimates over N random delays: better, and N times slower (default: 0)"
    add("--shifts", type=int, default=0, metavar="N", help=shifts)
    batch = "chunks that go through the network at once: faster on a GPU, more memory (default: 1)"
    add("--batch", type=int, default=1, metavar="N", help=batch)
    add("--json", action="store_true", help="print the names of the written files as JSON")
    live = "separate standard input (wav, or raw 32-bit floats, interleaved) as it comes"
    add("--stream", action=_Live, nargs=0, default=False, help=live)
    parser.set_defaults(run=_separate)


class _Live(argparse.Action):
    """``--stream``, with which no FILE is needed."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, *args: Any) -> None:
        namespace.stream = True
        for action in parser._actions:
            action.required = action.required and action.dest != "paths"


def _separate(model: Path, device: str | None, json: bool, stream: bool, **options: Any) -> None:
    from .separation import SomeFailedError, load_on_device, separate_files

    if stream:
        return _separate_live(model, device, {"json": json, **options})
    failure = None
    try:
        written = separate_files(load_on_device(model, device), **options)
    except SomeFailedError as error:
        written, failure = error.written, error
    if json:
        print_json([str(path) for path in written])
    else:
        print_lines(written)
    if failure:
        raise failure


def _separate_live(model: Path, device: str | None, options: dict[str, Any]) -> None:
    from .separation import load_on_device, separate_files, separate_live

    usual = inspect.signature(separate_files).parameters
    for name, value in options.items():
        if value and (name == "json" or value != usual[name].default):
            what = "FILE" if name == "paths" else f"--{name}"
            raise UsageError(f"--stream is for standard input and output: leave out {what}")
    for file, what in ((sys.stdin, "input"), (sys.stdout, "output")):
        if file is None or file.isatty():
            raise UsageError(f"--stream: standard {what} must be a pipe or a file")
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as sink:
        separate_live(load_on_device(model, device), sys.stdin.buffer, cast(BinaryIO, sink))


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add ``--force_overwrite``."""
    names = ("-f", "--force_overwrite", "--force-overwrite")
    parser.add_argument(*names, action="store_true", help="replace files that exist")
