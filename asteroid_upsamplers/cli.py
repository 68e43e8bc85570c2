"""``asteroid-upsamplers``: parsing only."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .cli_data import add_demo_data
from .cli_repair import add_repair
from .cli_separate import add_force, add_separate
from .console import json_object, print_json, print_lines, seed, shape, write
from .errors import UsageError, one_line_errors


def main(argv: Sequence[str] | None = None) -> None:
    """Upsampling layers for audio networks: list, measure, repair, separate, compare."""
    parser = argparse.ArgumentParser(prog="asteroid-upsamplers", description=main.__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_list(commands)
    add_separate(commands)
    _add_convert(commands)
    add_demo_data(commands)
    _add_report(commands)
    _add_probe(commands)
    add_repair(commands)
    _add_figures(commands)
    options = vars(parser.parse_args(argv))
    run, _ = options.pop("run"), options.pop("command")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        run(**options)


def _add_list(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("list", help="list the upsamplers")
    parser.add_argument("--json", action="store_true", help="print the names and summaries as JSON")
    parser.set_defaults(run=_list)


def _list(json: bool) -> None:
    from . import layers

    summaries = {
        name: (layers.get(name).__doc__ or "").strip().splitlines()[0]
        for name in layers.available()
    }
    if json:
        print_json(summaries)
    else:
        print_lines(f"{name:<12} {summary}" for name, summary in summaries.items())


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert", help="convert a checkpoint of Demucs v1 or v2 to a model file"
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="such as demucs-e07c671f.th, light.th.gz")
    add("path", type=Path, metavar="model", help="model file to write")
    add(
        "--resample",
        action=argparse.BooleanOptionalAction,
        help="whether the network works at twice the sample rate, if the file does not state it "
        "(default: it does)",
    )
    add_force(parser)
    parser.set_defaults(run=_convert)


def _convert(**options: Any) -> None:
    from .models import convert_demucs_checkpoint

    print_lines([convert_demucs_checkpoint(**options)])


def _add_report(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "report",
        help="compare models, song by song",
        description="Compare experiments and published scores. Writes tables, statistical tests "
        "song by song, a chart and a page. Runs that differ only in the seed (equal conf.yml, or "
        "folders named NAME.seed1, NAME.seed2) are one model. What cannot be used is named and "
        "left out; the exit status is 2 if nothing is left.",
    )
    add = parser.add_argument
    add(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a scored experiment, or museval files of a published model",
    )
    add(
        "--out",
        dest="output",
        type=Path,
        default=Path("report"),
        help="name of the files to write, without an ending such as .html (default: report)",
    )
    add("--title", default="Results", help="heading of the report (default: Results)")
    add(
        "--quoted",
        action="store_true",
        help="add the rows of the paper's Table 1, which are for MUSDB18",
    )
    parser.set_defaults(run=_report)


def _report(**options: Any) -> None:
    from .report import write_report

    written = write_report(**options)
    print_lines(
        [written["md"].read_text("utf-8"), f"written: {', '.join(map(str, written.values()))}"]
    )


def _add_probe(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "probe",
        help="find the tones that upsampling layers make, in a network or a recording",
        description="Find the upsampling layers of a network, measure the tones that they make "
        "of silence and of noise, and attribute these to layers; or look for such tones in a "
        "recording. Nothing in a model file or an ONNX file is run as code. A factory is code and "
        "is run, and so is an archive of TorchScript or torch.export: name only what you trust.",
    )
    add = parser.add_argument
    add(
        "target",
        help="Asteroid model file, ONNX file, archive of TorchScript (.ts, .jit) or torch.export "
        "(.pt2), recording, or package.module:factory of a network",
    )
    add("--json", action="store_true", help="print the results as JSON")
    page = "also write a page with pictures and sounds"
    add("--html", dest="page", type=Path, metavar="FILE", help=page)
    rate = "sample rate of the network's output in Hz, if the network does not state it"
    add("--sample_rate", type=float, help=rate)
    sizes = "shape of the test signal, batch included, if the network does not state its input"
    add("--input_shape", type=shape, metavar="1,2,N", help=sizes)
    seconds = "length of the test signal in seconds, if --input_shape is omitted (default 6)"
    add("--seconds", type=float, help=seconds)
    add(
        "--settings",
        type=json_object,
        metavar="JSON",
        help="arguments of the factory, or values of an ONNX file's further inputs, such as "
        "'{\"channels\": 16}'",
    )
    add(
        "--strides",
        type=shape,
        metavar="4,8",
        help="strides of layers whose tones to look for: in a recording (default: the usual ones), "
        "or in a network's output besides those of the layers that are found",
    )
    output = "which of several outputs of the network is the audio: a key, or a position from 0"
    add("--output", metavar="KEY", help=output)
    value = (
        "value of the network's input that means silence, such as -11.5 for log-mel spectrograms"
    )
    add("--silence", type=float, metavar="VALUE", help=value)
    original = (
        "of a recording: file of the network's input, or of the ideal output, to compare with"
    )
    add("--reference", type=Path, metavar="FILE", help=original)
    layers = "of a recording: network, given as target is, whose layers' strides to look for, too"
    add("--model", metavar="FILE", help=layers)
    add("--seed", type=seed, help="seed of the test noise (default 0)")
    trusted = "the file is an archive of TorchScript or torch.export, whatever its name: run it"
    add("--torchscript", action="store_const", const=True, help=trusted)
    lint = "only name the layers whose construction makes tones, without running the network; "
    add("--lint", action="store_true", help=lint + "exit status 1 if there are any")
    axis = "of --lint: the axis of images that is time, -1 (default) or -2 for (time, frequency)"
    add("--time_axis", "--time-axis", type=int, choices=(-1, -2), help=axis)
    save = "write the results to this file, for --baseline to compare with"
    add("--save_baseline", "--save-baseline", type=Path, metavar="FILE", help=save)
    compare = "compare with a file of --save-baseline; exit status 1 if a tone is louder or new"
    add("--baseline", type=Path, metavar="FILE", help=compare)
    tolerance = "by how many dB a level may be above the baseline (default 1)"
    add("--tolerance", type=float, metavar="DB", help=tolerance)
    parser.set_defaults(run=_probe)


def _probe(json: bool, lint: bool, time_axis: int | None, target: str, **options: Any) -> None:
    from . import probe

    if lint:
        with contextlib.redirect_stdout(sys.stderr):  # what a stranger's network prints
            found = probe.run_lint(target, time_axis=time_axis or -1, **options)
        print_json(found.to_dict()) if json else write(str(found))
        sys.exit(int(bool(found.findings)))
    if time_axis is not None:
        raise UsageError(f"{target}: --time_axis is for --lint")
    gate = {name: options.pop(name) for name in ("save_baseline", "baseline", "tolerance")}
    with contextlib.redirect_stdout(sys.stderr):
        result, comparison = probe.gated_probe({"target": target, **options}, **gate)
    text = comparison.text(gate["baseline"]) if comparison else result.text
    if json:
        print_json(result.report.to_dict() | (comparison.to_dict() if comparison else {}))
    else:
        write(text)
    for path in filter(None, (options["page"], gate["save_baseline"])):
        logging.getLogger(__name__).info("written: %s", path)
    if comparison and comparison.regressions:
        sys.exit(1)


def _add_figures(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "figures",
        help="draw the figures of the paper",
        description="Draw figures of the paper. Each is written as a picture, figure<N>.png, and "
        "as the numbers behind it, figure<N>.json.",
    )
    add = parser.add_argument
    add("numbers", nargs="*", type=int, help="figures 1 to 10 (default: all)")
    add("--out", type=Path, default=Path("figures"), help="folder to write to (default: figures)")
    add("--music", type=Path, metavar="FILE", help="audio file for Fig. 6 (default: a demo song)")
    add("--seed", type=seed, default=0, help="seed of random weights and noise (default: 0)")
    parser.set_defaults(run=_figures)


def _figures(numbers: list[int], **options: Any) -> None:
    from .figures import FIGURES, render_figures

    print_lines(render_figures(numbers or list(FIGURES), **options))


if __name__ == "__main__":
    main()
