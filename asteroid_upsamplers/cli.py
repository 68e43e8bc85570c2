"""``asteroid-upsamplers``: parsing only."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, layers
from .errors import one_line_errors


def main(argv: Sequence[str] | None = None) -> None:
    """Upsampling layers for audio networks: list, measure, separate, compare."""
    parser = argparse.ArgumentParser(prog="asteroid-upsamplers", description=main.__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_list(commands)
    _add_separate(commands)
    _add_convert(commands)
    _add_demo_data(commands)
    _add_report(commands)
    _add_probe(commands)
    _add_figures(commands)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        arguments.run(arguments)


def _add_list(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("list", help="list the upsamplers")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> None:
    summaries = {
        name: (layers.get(name).__doc__ or "").strip().splitlines()[0]
        for name in layers.available()
    }
    if arguments.json:
        sys.stdout.write(json.dumps(summaries, indent=2) + "\n")
    else:
        for name, summary in summaries.items():
            sys.stdout.write(f"{name:<12} {summary}\n")


def _add_separate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "separate",
        help="separate audio files with a trained model",
        description="Write NAME_SOURCE.wav for every file: 32-bit float at the file's own sample "
        "rate, not rescaled. Files that exist are kept.",
    )
    parser.add_argument(
        "model", type=Path, help="file of any Asteroid model, such as best_model.pth"
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="audio file of any format, or a folder, which is searched for audio files",
    )
    parser.add_argument(
        "-o",
        "--output_dir",
        "--output-dir",
        type=Path,
        help="folder to write to (default: beside each file)",
    )
    parser.add_argument(
        "-f",
        "--force_overwrite",
        "--force-overwrite",
        action="store_true",
        help="replace files that exist",
    )
    parser.add_argument("-d", "--device", help="such as cuda:0 (default: a GPU if there is one)")
    parser.add_argument(
        "--chunk",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="length of the chunks that a file is cut into (default: 10; inf: the whole file)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="share of a chunk that it has in common with the next, 0 to 0.5 (default: 0.25)",
    )
    parser.add_argument(
        "--shifts",
        type=int,
        default=0,
        metavar="N",
        help="average the estimates over N random delays: better, and N times slower (default: 0)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="chunks that go through the network at once: more is faster on a GPU and needs more "
        "memory (default: 1)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the names of the written files as JSON"
    )
    parser.set_defaults(run=_separate)


def _separate(arguments: argparse.Namespace) -> None:
    from .separation import load_on_device, separate_files

    written = separate_files(
        load_on_device(arguments.model, arguments.device),
        arguments.files,
        arguments.output_dir,
        arguments.force_overwrite,
        arguments.chunk,
        arguments.overlap,
        shifts=arguments.shifts,
        batch=arguments.batch,
    )
    if arguments.json:
        sys.stdout.write(json.dumps([str(path) for path in written], indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{path}\n" for path in written))


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert", help="make a model file of a checkpoint of Demucs v1 or v2"
    )
    parser.add_argument("checkpoint", type=Path, help="such as demucs-e07c671f.th, light.th.gz")
    parser.add_argument("model", type=Path, help="file to write, for separate")
    parser.add_argument(
        "--resample",
        action=argparse.BooleanOptionalAction,
        help="whether the network works at twice the sample rate, if the file does not state it "
        "(default: it does)",
    )
    parser.add_argument(
        "-f",
        "--force_overwrite",
        "--force-overwrite",
        action="store_true",
        help="replace what is there",
    )
    parser.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    from .models import convert_demucs_checkpoint

    written = convert_demucs_checkpoint(
        arguments.checkpoint, arguments.model, arguments.resample, arguments.force_overwrite
    )
    sys.stdout.write(f"{written}\n")


def _add_demo_data(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("demo-data", help="render demo songs in MUSDB18-HQ's layout")
    parser.add_argument("root", type=Path, help="folder to write train/ and test/ into")
    parser.add_argument("--n_train", type=int, default=8, help="training songs (default 8)")
    parser.add_argument("--n_test", type=int, default=2, help="test songs (default 2)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a song (default 12)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the songs (default 0)")
    parser.set_defaults(run=_demo_data)


def _demo_data(arguments: argparse.Namespace) -> None:
    from .data import render_demo_set

    render_demo_set(
        arguments.root,
        n_train=arguments.n_train,
        n_test=arguments.n_test,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )


def _add_report(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "report",
        help="compare models, song by song",
        description="Compare experiments and published scores. Writes tables, statistical tests "
        "song by song, a chart and a page. Runs that differ only in the seed (equal conf.yml, or "
        "folders named NAME.seed1, NAME.seed2) are one model. What cannot be used is named and "
        "left out; the exit status is 2 if nothing is left.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a scored experiment, or museval files of a published model",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report"),
        help="files to write, without their ending (default: report)",
    )
    parser.add_argument("--title", default="Results", help="heading, such as the data set's name")
    parser.add_argument(
        "--quoted",
        action="store_true",
        help="add the rows of the paper's Table 1, which are for MUSDB18",
    )
    parser.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> None:
    from .report import write_report

    written = write_report(
        arguments.folders, arguments.out, arguments.title, quoted=arguments.quoted
    )
    sys.stdout.write(written["md"].read_text())
    sys.stdout.write(f"\nwritten: {', '.join(str(path) for path in written.values())}\n")


def _add_probe(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "probe",
        help="find the tones that upsampling layers make, in a network or a recording",
        description="Find the upsampling layers of a network, measure the tones that they make "
        "of silence and of noise, and attribute these to layers; or look for such tones in a "
        "recording.",
    )
    parser.add_argument(
        "target", help="Asteroid model file, recording, or package.module:factory of a network"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page with pictures and sounds"
    )
    parser.add_argument(
        "--sample_rate",
        type=float,
        help="sample rate of the network's output in Hz, if the network does not state it",
    )
    parser.add_argument(
        "--input_shape",
        type=_shape,
        metavar="1,2,N",
        help="shape of the test signal, batch included, if the network does not state its input",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=6.0,
        help="length of the test signal in seconds, if --input_shape is omitted (default 6)",
    )
    parser.add_argument(
        "--settings",
        type=_settings,
        default={},
        metavar="JSON",
        help="arguments of the factory, such as '{\"channels\": 16}'",
    )
    parser.add_argument(
        "--strides",
        type=_shape,
        metavar="4,8",
        help="strides of the layers to look for in a recording (default: the usual ones)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the test noise (default 0)")
    parser.set_defaults(run=_probe)


def _shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be positive integers with commas between, such as 1,2,44100"
        )
    return sizes


def _settings(text: str) -> dict:
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be a JSON object, such as '{{\"channels\": 16}}'"
        )
    return settings


def _probe(arguments: argparse.Namespace) -> None:
    from .probe import run_probe

    result = run_probe(
        arguments.target,
        sample_rate=arguments.sample_rate,
        input_shape=arguments.input_shape,
        seconds=arguments.seconds,
        settings=arguments.settings,
        strides=arguments.strides,
        seed=arguments.seed,
        page=arguments.html,
    )
    if arguments.json:
        sys.stdout.write(json.dumps(result.report.to_dict(), indent=2, allow_nan=False) + "\n")
    else:
        sys.stdout.write(result.text)
    if arguments.html:
        logging.getLogger(__name__).info("written: %s", arguments.html)


def _add_figures(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "figures",
        help="draw the figures of the paper",
        description="Draw figures of the paper. Each is written as a picture, figure<N>.png, and "
        "as the numbers behind it, figure<N>.json.",
    )
    parser.add_argument("numbers", nargs="*", type=int, help="figures 1 to 10 (default: all)")
    parser.add_argument(
        "--out", type=Path, default=Path("figures"), help="folder to write to (default: figures)"
    )
    parser.add_argument(
        "--music", type=Path, metavar="FILE", help="audio file for Fig. 6 (default: a demo song)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of random weights and noise (default: 0)"
    )
    parser.set_defaults(run=_figures)


def _figures(arguments: argparse.Namespace) -> None:
    from .figures import FIGURES, render_figures

    numbers = arguments.numbers or list(FIGURES)
    written = render_figures(numbers, arguments.out, arguments.music, arguments.seed)
    sys.stdout.write("".join(f"{path}\n" for path in written))


if __name__ == "__main__":
    main()
