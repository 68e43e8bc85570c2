"""What repairing trained separators takes away and costs: tones in silent windows, and SDR.

    python benchmarks/repair_separators.py SONGS EXPERIMENT...

SONGS is a set in MUSDB18-HQ's layout, of which the test songs are separated; EXPERIMENT a folder
that the recipe trained. Folders of one row with several seeds are averaged below the table.
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation import load_music_separator
from asteroid_upsamplers.probe import tone_frequencies
from asteroid_upsamplers.repair import repair
from asteroid_upsamplers.repair.judge import PERIOD
from asteroid_upsamplers.repair.songs import Songs, SongScore, paired

WANTED = {"transposed": 15.0, "subpixel": 8.0}
"""By how many dB the tones are to fall at least, in these rows."""

MOST_SDR = 0.03
logger = logging.getLogger(__name__)


def scores(songs: Songs, network: nn.Module) -> list[SongScore]:
    """Of the test songs, separated by a network."""
    with torch.no_grad():
        return songs.scores(
            lambda x: network(x)[0].flatten(0, 1), tone_frequencies(songs.rate, [PERIOD])
        )


def measured(exp_dir: Path, root: Path, order: int) -> tuple[float, float, float]:
    """Tones before and after, mean over the songs in dB, and the mean change of the SDR."""
    model = load_music_separator(exp_dir).cpu()
    songs = Songs(root, model, model.sample_rate)
    before = scores(songs, model)
    after = scores(songs, repair(model, order=order).network)
    sdr = paired([s.sdr_db for s in before], [s.sdr_db for s in after])
    assert sdr is not None
    return fmean(s.tones_db for s in before), fmean(s.tones_db for s in after), sdr.mean_db


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path, help="set of songs with a folder test")
    parser.add_argument("exp_dirs", type=Path, nargs="+", help="folders of trained experiments")
    parser.add_argument("--order", type=int, default=0, help="of the repair (default 0)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("asteroid_upsamplers.data").setLevel(logging.WARNING)
    logger.info("experiment | tones before (dB) | after | difference | SDR change (dB)")
    logger.info("---|---:|---:|---:|---:")
    rows = defaultdict(list)
    for exp_dir in options.exp_dirs:
        try:
            before, after, sdr = measured(exp_dir, options.songs, options.order)
        except UsageError as error:
            logger.info("%s | - | - | - | %s", exp_dir, error)
            continue
        rows[exp_dir.name.partition(".")[0]].append((after - before, sdr))
        words = (exp_dir, before, after, after - before, sdr)
        logger.info("%s | %.1f | %.1f | %+.1f | %+.3f", *words)
    for name, found in rows.items():
        tones, sdr = (fmean(column) for column in zip(*found, strict=True))
        reached = ""
        if name in WANTED:
            met = tones <= -WANTED[name] and sdr >= -MOST_SDR
            reached = f" (wanted: -{WANTED[name]:g}, -{MOST_SDR}: {'met' if met else 'missed'})"
        logger.info(
            "%s, %d seed(s): tones %+.1f dB, SDR %+.3f dB%s", name, len(found), tones, sdr, reached
        )


if __name__ == "__main__":
    main()
