"""The figures of Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, [1].

Each figure is a function that computes arrays and, under ``numbers``, the values behind the paper's
statements about the figure, and a function that draws the arrays.
"""

from .render import FIGURES, render_figures, show

__all__ = ["FIGURES", "render_figures", "show"]
