"""Stages 2 to 4: separate the test songs, score them with museval, measure artifacts."""

import argparse
import logging
from pathlib import Path

from asteroid_upsamplers.errors import one_line_errors

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["separate", "score", "artifacts"])
    parser.add_argument("exp_dirs", nargs="+", type=Path, help="folders of trained experiments")
    parser.add_argument(
        "--workers",
        type=int,
        help="songs scored at a time (default: one a core); each needs 1 GB and 1.5 GB a minute",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        from asteroid_upsamplers import evaluation, report

        if arguments.step == "separate":
            evaluation.separate_experiments(arguments.exp_dirs)
        elif arguments.step == "score":
            evaluation.score_experiments(arguments.exp_dirs, arguments.workers)
        else:
            report.measure_experiments(arguments.exp_dirs)
