"""Stage 1: train one model (see ``python train.py --exp_dir x --help`` for every key)."""

import logging

from asteroid_upsamplers.errors import one_line_errors
from asteroid_upsamplers.training import fit, parse_arguments

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        fit(*parse_arguments("Train a Demucs-like model."))
