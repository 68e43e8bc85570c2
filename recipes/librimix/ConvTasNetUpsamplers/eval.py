"""Stage 2: score one trained Conv-TasNet, and measure the tones of its decoder."""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from asteroid.data import LibriMix
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.metrics import get_metrics
from tqdm import tqdm

from asteroid_upsamplers.errors import UsageError, one_line_errors
from asteroid_upsamplers.files import write_json
from asteroid_upsamplers.models import UpsamplerConvTasNet as ConvTasNet
from asteroid_upsamplers.probe import probe

NOISE_SECONDS = 6


@torch.no_grad()
def improvements(model, examples):
    """SI-SDR of the estimates, less that of the mixture, in dB: one figure a mixture."""
    order = PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")
    figures = []
    for mixture, sources in tqdm(examples, desc="scoring", unit="mixture"):
        _, estimates = order(model(mixture[None]), sources[None], return_est=True)
        scores = get_metrics(
            mixture.numpy(),
            sources.numpy(),
            estimates[0].numpy(),
            sample_rate=int(model.sample_rate),
            metrics_list=["si_sdr"],
        )
        figures.append(scores["si_sdr"] - scores["input_si_sdr"])
    return figures


def tones(model):
    """What the decoder makes of a constant, from its weights, and of noise through the network."""
    rate = int(model.sample_rate)
    report = probe(model, rate, (1, 1, NOISE_SECONDS * rate)).to_dict()
    (decoder,) = [layer for layer in report["layers"] if layer["name"].startswith("decoder")]
    return {
        "frequencies_hz": [tone["frequency_hz"] for tone in decoder["tones"]],
        "constant_db": max(tone["level_db"] for tone in decoder["tones"]),
        "tonal_fraction": decoder["tonal_fraction"],
        "noise_prominence_db": {
            str(tone["frequency_hz"]): tone["prominence_db"] for tone in report["noise"]["tones"]
        },
    }


def main(exp_dir, test_dir):
    """Write ``evaluation.json`` to the experiment, unless it is newer than the model."""
    path, target = exp_dir / "best_model.pth", exp_dir / "evaluation.json"
    if not path.exists():
        raise UsageError(f"{path}: no trained model; run stage 1")
    if not test_dir.is_dir():
        raise UsageError(f"{test_dir}: no such folder; run stage 0, or name LibriMix's metadata")
    if target.exists() and target.stat().st_mtime > path.stat().st_mtime:
        return
    conf = yaml.safe_load((exp_dir / "conf.yml").read_text())
    model = ConvTasNet.from_pretrained(path).eval()
    data = conf["data"]
    examples = LibriMix(test_dir, data["task"], data["sample_rate"], data["n_src"], segment=None)
    figures = improvements(model, [examples[index] for index in range(len(examples))])
    count = len(figures)
    result = {
        "upsampler": model.decoder.upsampler_name,
        "upsampler_kwargs": model.decoder.upsampler_kwargs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "si_sdr_improvement_db": {
            "mean": float(np.mean(figures)),
            "standard_error": float(np.std(figures, ddof=1) / count**0.5) if count > 1 else None,
            "mixtures": count,
        },
        "tones": tones(model),
    }
    write_json(target, result)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Score a trained Conv-TasNet.")
    parser.add_argument("--exp_dir", type=Path, required=True, help="folder of the experiment")
    parser.add_argument("--test_dir", type=Path, required=True, help="metadata to test on")
    arguments = parser.parse_args()
    with one_line_errors():
        main(arguments.exp_dir, arguments.test_dir)
