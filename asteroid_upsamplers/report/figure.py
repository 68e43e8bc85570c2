"""One figure beside the table: SDR of each system and stem, and how it spreads over the songs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .collect import GROUPS
from .systems import System

_INCHES_PER_BOX = 0.22
_LEAST_SDR = -15.0
"""In dB, or 5 less than the lowest figure of the table. A song with next to nothing of a stem
may lie far below; it is counted, not drawn."""


def draw_comparison(results: pd.DataFrame, systems: Sequence[System]) -> Figure:
    """A group of boxes a stem and one for the mean, a box a system.

    Boxes are the quartiles of the songs' median SDR, whiskers reach from the 5th to the 95th
    percentile, dots are songs beyond them (a number with an arrow counts those far below).
    Diamonds are the figures of the table, with the standard deviation over the seeds where there
    are several.

    Args:
        results: As :func:`tabulate` gives it for these systems; quoted rows are not drawn.
        systems: In the order of the legend.
    """
    spacing = 0.85 / len(systems)
    boxes = len(systems) * len(GROUPS)
    figure, axes = plt.subplots(
        figsize=(max(9, _INCHES_PER_BOX * boxes), 4.8), layout="constrained"
    )
    lowest = results[[f"SDR_{group}" for group in GROUPS]].min(axis=None)
    least = min(_LEAST_SDR, lowest - 5)
    colours = plt.get_cmap("tab10")
    handles = []
    for index, system in enumerate(systems):
        colour = "0.75" if system.is_baseline else colours(index % 10)
        places = np.arange(len(GROUPS)) + (index - (len(systems) - 1) / 2) * spacing
        songs = system.songs.loc["SDR"].unstack("target")
        songs["mean"] = songs.mean(axis=1, skipna=False)
        axes.boxplot(
            [songs[group].dropna() for group in GROUPS],
            positions=places,
            widths=0.8 * spacing,
            whis=(5, 95),
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.7},
            medianprops={"color": "black"},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
        )
        row = results.loc[system.name]
        figures = [float(row[f"SDR_{group}"]) for group in GROUPS]
        deviations = [row.get(f"SDR_{group}_std", float("nan")) for group in GROUPS]
        axes.errorbar(
            places,
            figures,
            yerr=np.nan_to_num(np.array(deviations, dtype=float)),
            fmt="D",
            markersize=4,
            markerfacecolor="white",
            color="black",
            zorder=3,
        )
        seeds = f" ({len(system.runs)} seeds)" if len(system.runs) > 1 else ""
        handles.append(Patch(facecolor=colour, alpha=0.7, label=system.name + seeds))
        for place, group in zip(places, GROUPS, strict=True):
            below = int((songs[group] < least).sum())
            if below:
                axes.text(place, least, f"{below}↓", ha="center", va="bottom", fontsize=7)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], least))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(GROUPS)), GROUPS)
    axes.set_ylabel("SDR of songs (dB), median over frames")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.legend(handles=handles, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
