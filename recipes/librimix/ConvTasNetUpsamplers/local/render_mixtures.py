"""Stage 0 of a demo: mixtures of two rendered voices."""

import argparse
from pathlib import Path

from asteroid_upsamplers.data import render_demo_mixtures
from asteroid_upsamplers.errors import one_line_errors

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render two-speaker mixtures.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--n_train", type=int, default=160)
    parser.add_argument("--n_dev", type=int, default=16)
    parser.add_argument("--n_test", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--voices", default="auto", help="auto, espeak-ng or synthetic")
    with one_line_errors():
        render_demo_mixtures(**vars(parser.parse_args()))
