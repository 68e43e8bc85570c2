"""SDR of each model and stem, and how it spreads over the songs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from ..probe.style import name_in_legend
from .models import ScoredModel

CAPTION = (
    "Boxes: quartiles of the songs' median SDR; whiskers: 5th to 95th percentile; dots: songs "
    "beyond them (a number with an arrow counts those below the chart). Diamonds: the values of "
    "the table, with the standard deviation over the seeds where there are several."
)

_HALO = [withStroke(linewidth=3.2, foreground="white")]
"""Around the medians, which would not be seen on dark boxes."""

_INCHES_PER_BOX = 0.22
_LEAST_SDR = -15.0
"""In dB, or 5 less than the lowest value of the table. A song with next to nothing of a stem may
lie far below; it is counted, not drawn."""


def draw_comparison(results: pd.DataFrame, models: Sequence[ScoredModel]) -> Figure:
    """Draw a group of boxes for each stem and one for the mean, with a box for each model.

    ``results`` is :func:`tabulate`'s table of these models; quoted rows are not drawn.
    """
    groups = [*models[0].stems, "mean"]
    width = max(9, _INCHES_PER_BOX * len(models) * len(groups))
    figure = Figure(figsize=(width, 4.8), layout="constrained")
    axes = figure.subplots()
    means = results[[f"SDR_{group}" for group in groups]].astype(float)
    deviations = results.reindex(columns=[f"SDR_{group}_std" for group in groups]).astype(float)
    least = min(_LEAST_SDR, means.min(axis=None) - 5)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(models)))
    spacing = 0.85 / len(models)
    handles: list[Patch] = []
    names: list[str] = []
    for index, model in enumerate(models):
        colour = "0.75" if model.is_baseline else colours[index]
        places = np.arange(len(groups)) + (index - (len(models) - 1) / 2) * spacing
        songs = model.songs.loc["SDR"].unstack("target")
        songs["mean"] = songs[list(model.stems)].mean(axis=1, skipna=False)
        axes.boxplot(
            [songs[group].dropna() for group in groups],
            positions=places,
            widths=0.8 * spacing,
            whis=(5, 95),
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.7},
            medianprops={"color": "black", "linewidth": 1.6, "path_effects": _HALO},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
        )
        axes.errorbar(
            places,
            means.loc[model.name],
            yerr=deviations.loc[model.name].fillna(0),
            fmt="D",
            markersize=4,
            markerfacecolor="white",
            color="black",
            zorder=3,
        )
        handles.append(Patch(facecolor=colour, alpha=0.7, label="."))
        seeds = f" ({len(model.runs)} seeds)" if len(model.runs) > 1 else ""
        names.append(model.name + seeds)
        for place, below in zip(places, (songs[groups] < least).sum(), strict=True):
            if below:
                axes.text(place, least, f"{below}↓", ha="center", va="bottom", fontsize=7)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], least))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(groups)), groups, parse_math=False)
    axes.set_ylabel("SDR of songs (dB), median over frames")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
    legend = axes.legend(
        handles=handles, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    name_in_legend(legend, names)
    return figure
