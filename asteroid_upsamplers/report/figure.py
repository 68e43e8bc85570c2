"""One figure beside the table: SDR of each system and stem."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data import SOURCES


def draw_comparison(results: pd.DataFrame) -> Figure:
    """Bars of the SDR (dB, median of medians) of each system, a group a stem and one for the mean.

    Args:
        results: As :func:`collect` gives it.
    """
    groups = [*SOURCES, "mean"]
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    width = 0.85 / len(results)
    colours = plt.get_cmap("tab10")
    for index, (system, row) in enumerate(results.iterrows()):
        heights = [row[f"SDR_{group}"] for group in groups]
        places = np.arange(len(groups)) + (index - (len(results) - 1) / 2) * width
        mixture = str(system).split("/")[-1] == "mixture"
        colour = "0.75" if mixture else colours(index % 10)
        axes.bar(places, heights, width, label=str(system), color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_ylabel("SDR (dB), median of medians")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.legend(ncols=1, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
