"""The figures in the README's table of layers are what ``artifacts`` measures."""

from pathlib import Path

import torch

from asteroid_upsamplers import artifacts, layers
from asteroid_upsamplers.artifacts.filtering import power_response
from asteroid_upsamplers.dsp.spectra import decibels

README = Path(__file__).parents[2] / "README.md"


def figures(name):
    """Tones of a constant in a random layer; images and the edge of the band of what is fixed."""
    torch.manual_seed(0)
    layer = layers.make(name, 64, 32, stride=4)
    share = 100 * artifacts.tone_levels(layer, bias=False).tonal_fraction
    cells = [f"{share:.0f} %" if share > 1e-9 else "none"]
    if share > 1e-9:
        return [*cells, "as learned", "as learned"]
    alone = layers.make(name, 1, 1, stride=4, kernel_size=1, bias=False)
    power = power_response(artifacts.system_of(alone).responses, 4000)
    edge = float(decibels(power[round(0.45 / 2 * 4000)], power[0]))
    images = max(artifacts.replicas(alone, 0.25).levels_db)
    return [*cells, f"{images:.0f} dB", f"{edge:.1f} dB"]


def test_the_table_of_layers_shows_what_is_measured():
    rows = [line.strip("| \n").split(" | ") for line in README.read_text().splitlines()]
    found = {cells[0].strip("`"): cells[-3:] for cells in rows if len(cells) == 6}
    assert {name: figures(name) for name in layers.available()} == {
        name: found.get(name) for name in layers.available()
    }
