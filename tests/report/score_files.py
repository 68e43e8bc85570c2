"""Museval files made by hand."""

import gzip
import json

import numpy as np
import yaml

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.evaluation import METRICS
from asteroid_upsamplers.report import compare_systems, read_systems
from tests.training.test_config import CONF


def song_content(frames_by_stem):
    """``frames_by_stem``: SDR of each frame in dB, by stem; other metrics are 1 more."""
    targets = [
        {
            "name": stem,
            "frames": [
                {
                    "time": float(time),
                    "duration": 1.0,
                    "metrics": {metric: value + (metric != "SDR") for metric in METRICS},
                }
                for time, value in enumerate(frames)
            ],
        }
        for stem, frames in frames_by_stem.items()
    ]
    return {"targets": targets}


def write_system(folder, songs, compress=False):
    """A published system; ``songs``: SDRs of the four stems, by song, in dB."""
    folder.mkdir(parents=True, exist_ok=True)
    for song, values in songs.items():
        content = song_content({s: [v] for s, v in zip(SOURCES, values, strict=True)})
        data = json.dumps(content).encode()
        if compress:
            (folder / f"{song}.json.gz").write_bytes(gzip.compress(data))
        else:
            (folder / f"{song}.json").write_bytes(data)
    return folder


def write_scored_experiment(exp_dir, songs, seed=42, model=None, **training):
    """An experiment of any model, with ``training.json``."""
    conf = yaml.safe_load(CONF.read_text())
    conf["training"]["seed"] = seed
    if model is not None:
        conf["model"] = model
    conf["main_args"] = {"exp_dir": str(exp_dir)}
    write_system(exp_dir / "scores" / "test", songs)
    (exp_dir / "conf.yml").write_text(yaml.safe_dump(conf))
    summary = {"parameters": 1000, "seconds_per_epoch": 2.0, "epochs": 3, "seed": seed, **training}
    (exp_dir / "training.json").write_text(json.dumps(summary))
    return exp_dir


def songs(seed, count, offset=0.0, spread=1.0, start=0):
    """SDRs by song: those of the seed about those of the songs, which all seeds have in common."""
    rng = np.random.default_rng(seed)
    values = 5 + 3 * np.random.default_rng(99).standard_normal((100, 4))[start : start + count]
    values = values + offset + spread * rng.standard_normal((count, 4))
    return {f"song {start + k}": list(map(float, row)) for k, row in enumerate(values)}


def pairs_of(*folders):
    return compare_systems(read_systems(folders).systems)


def mean_row(pairs):
    return pairs[pairs["stem"] == "mean"].iloc[0]
