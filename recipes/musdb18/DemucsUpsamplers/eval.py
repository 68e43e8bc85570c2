"""Stages 2 to 4: separate the test songs, score them with BSS Eval v4, measure artifacts."""

import argparse
import logging
from pathlib import Path

from asteroid_upsamplers.errors import one_line_errors


def parse_arguments() -> argparse.Namespace:
    """The command line; none of it is part of what was trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "step", choices=["separate", "score", "artifacts"], help="stage 2, 3 or 4 of run.sh"
    )
    parser.add_argument("exp_dirs", nargs="+", type=Path, help="folders of trained experiments")
    songs = parser.add_argument_group("songs")
    songs.add_argument(
        "--musdb18_dir",
        type=Path,
        default=Path("data/musdb18"),
        help="MUSDB18 (.stem.mp4) or MUSDB18-HQ (wav) (default: %(default)s)",
    )
    songs.add_argument(
        "--wav_dir",
        type=Path,
        default=Path("data/wav/musdb18"),
        help="where stage 0 put the wav files of MUSDB18 (default: %(default)s)",
    )
    songs.add_argument(
        "--skip_bad_songs",
        action="store_true",
        help="leave out songs that cannot be used, and say which (default: stop)",
    )
    separate = parser.add_argument_group("separate")
    separate.add_argument(
        "--chunk", type=float, default=10.0, help="length of a chunk in seconds (default: 10)"
    )
    separate.add_argument(
        "--overlap",
        type=float,
        default=0.25,
        help="share of a chunk that it has in common with the next, 0 to 0.5 (default: 0.25)",
    )
    separate.add_argument(
        "--shifts",
        type=int,
        default=0,
        help="average the estimates over this many random delays, the same ones in every run; "
        "Demucs' best figures took 10 (default: 0, no delays)",
    )
    separate.add_argument(
        "--batch",
        type=int,
        default=1,
        help="chunks that go through the network at once: more is faster on a GPU and needs more "
        "memory (default: 1)",
    )
    score = parser.add_argument_group("score")
    score.add_argument(
        "--workers",
        type=int,
        help="songs scored at a time; each needs about 1 GB of memory (default: one per core)",
    )
    score.add_argument(
        "--metrics",
        default="SDR,ISR,SIR,SAR",
        help="these four, or SDR alone, which takes a fraction of the time (default: %(default)s)",
    )
    score.add_argument(
        "--scorer",
        default="asteroid_upsamplers",
        help="asteroid_upsamplers, or museval, which gives the same scores and takes many times as "
        "long (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        from asteroid_upsamplers import evaluation, report, separation

        exp_dirs, songs = arguments.exp_dirs, (arguments.musdb18_dir, arguments.wav_dir)
        skip = {"skip_bad_songs": arguments.skip_bad_songs}
        if arguments.step == "separate":
            chunking = separation.Chunking(
                arguments.chunk, arguments.overlap, arguments.shifts, arguments.batch
            )
            evaluation.separate_experiments(exp_dirs, *songs, chunking, **skip)
        elif arguments.step == "score":
            how = {"metrics": arguments.metrics.split(","), "scorer": arguments.scorer}
            evaluation.score_experiments(exp_dirs, *songs, arguments.workers, **how, **skip)
        else:
            how = {"metrics": arguments.metrics.split(","), "scorer": arguments.scorer}
            how |= {"workers": arguments.workers, **skip}
            repaired = report.repair_experiments(exp_dirs, *songs, **how)
            report.measure_experiments([*exp_dirs, *repaired], *songs, **skip)
