"""Museval files and experiments made by hand."""

import gzip
import json

import numpy as np
import yaml

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.evaluation import METRICS
from asteroid_upsamplers.report import compare_models, read_models

NEAREST = {"name": "DemucsLike", "upsampler": "nearest", "modified": False, "encoder_context": 1}


def song_content(sdr_by_stem):
    """A song of one frame; ``sdr_by_stem``: its SDR in dB, the other metrics are 1 more."""
    targets = []
    for stem, sdr in sdr_by_stem.items():
        frame = {"metrics": {metric: sdr + (metric != "SDR") for metric in METRICS}}
        targets.append({"name": stem, "frames": [{"time": 0.0, "duration": 1.0, **frame}]})
    return {"targets": targets}


def write_scores(folder, songs, compress=False):
    """A published model; ``songs``: SDRs of the four stems in dB, by song."""
    folder.mkdir(parents=True, exist_ok=True)
    for song, values in songs.items():
        data = json.dumps(song_content(dict(zip(SOURCES, values, strict=True)))).encode()
        path = folder / (f"{song}.json.gz" if compress else f"{song}.json")
        path.write_bytes(gzip.compress(data) if compress else data)
    return folder


def write_stems(folder, *rows):
    """A published model; ``rows``: a song each, SDR in dB by stem."""
    folder.mkdir(parents=True)
    for k, row in enumerate(rows):
        (folder / f"song {k}.json").write_text(json.dumps(song_content(row)))
    return folder


def write_experiment(exp_dir, songs, seed=42, model=NEAREST, **training):
    """A scored experiment with its ``conf.yml`` and ``training.json``."""
    write_scores(exp_dir / "scores" / "test", songs)
    conf = {"data": {"musdb18_dir": str(exp_dir)}, "model": model, "training": {"seed": seed}}
    (exp_dir / "conf.yml").write_text(yaml.safe_dump(conf))
    summary = {"parameters": 1234567, "seconds_per_epoch": 12.34, "epochs": 3, "commit": "abc"}
    (exp_dir / "training.json").write_text(json.dumps({**summary, "seed": seed, **training}))
    return exp_dir


def songs(seed, count, offset=0.0, spread=1.0, start=0):
    """SDRs by song: random ones of the seed around those that all seeds have in common."""
    rng = np.random.default_rng(seed)
    values = 5 + 3 * np.random.default_rng(99).standard_normal((100, 4))[start : start + count]
    values = values + offset + spread * rng.standard_normal((count, 4))
    return {f"song {start + k}": list(map(float, row)) for k, row in enumerate(values)}


def pairs_of(*folders):
    return compare_models(read_models(folders).models)


def mean_row(pairs):
    return pairs[pairs["stem"] == "mean"].iloc[0]
