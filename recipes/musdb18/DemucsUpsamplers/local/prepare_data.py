"""Stage 0: make or check the wav files that the other stages read."""

import argparse
import logging
from pathlib import Path

from asteroid_upsamplers import data
from asteroid_upsamplers.errors import one_line_errors

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--musdb18_dir", type=Path, required=True, help="MUSDB18 or MUSDB18-HQ")
    parser.add_argument("--wav_dir", type=Path, required=True, help="for the stems' wav files")
    parser.add_argument(
        "--sources", default=",".join(data.SOURCES), help="stems of each song (default %(default)s)"
    )
    parser.add_argument(
        "--skip_bad_songs", action="store_true", help="leave out songs that cannot be used"
    )
    parser.add_argument("--demo", action="store_true", help="render demo songs there first")
    parser.add_argument(
        "--download_sample", action="store_true", help="fetch musdb's 7-second excerpts there first"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        if arguments.demo:
            data.render_demo_set(arguments.musdb18_dir, seconds=6.0)
        elif arguments.download_sample:
            data.download_sample(arguments.musdb18_dir)
        sources = arguments.sources.split(",")
        data.prepare(
            arguments.musdb18_dir,
            arguments.wav_dir,
            sources=sources,
            skip_bad_songs=arguments.skip_bad_songs,
        )
