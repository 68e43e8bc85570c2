"""Stage 1: train one model (see ``python train.py --exp_dir x --help`` for every key).

With ``--dry_run``: print its parameters, memory, data and steps, and stop.
"""

import argparse
import logging
import sys

from asteroid_upsamplers.errors import one_line_errors
from asteroid_upsamplers.training import dry_run, fit, parse_arguments

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dry_run", action="store_true")
    own, others = parser.parse_known_args()
    with one_line_errors():
        conf, exp_dir = parse_arguments(f"Train a separator of music. {__doc__}", others)
        if own.dry_run:
            sys.stdout.write(f"{exp_dir}\n{dry_run(conf)}\n")
        else:
            fit(conf, exp_dir)
