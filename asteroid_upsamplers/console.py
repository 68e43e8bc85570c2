"""What commands take from the command line, and print.

Wrong values raise :class:`argparse.ArgumentTypeError`, which the parser makes one line of.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable

from .files import json_text


def shape(text: str) -> tuple[int, ...]:
    """Positive integers with commas between, such as ``1,2,44100``."""
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be positive integers with commas between, such as 1,2,44100"
        )
    return sizes


def seed(text: str) -> int:
    """A seed that every generator of random numbers takes."""
    if not (text.isdecimal() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r}: must be an integer from 0 to {2**32 - 1}")
    return int(text)


def json_object(text: str) -> dict:
    """A JSON object."""
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be a JSON object, such as '{{\"channels\": 16}}'"
        )
    return settings


def print_lines(lines: Iterable[object]) -> None:
    """One line each."""
    write("".join(f"{line}\n" for line in lines))


def print_json(values: object) -> None:
    """As JSON."""
    write(json_text(values))


def write(text: str) -> None:
    """To the standard output; a full disk or a closed pipe is noticed here, not after the end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 # where Python flushes at the end
        raise
