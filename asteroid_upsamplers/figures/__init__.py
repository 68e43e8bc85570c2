"""The figures of Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, [1].

Each is a module: ``compute()`` gives arrays and, under ``numbers``, what the paper's sentences
about the figure are about; ``draw()`` draws the arrays.
"""

from .render import FIGURES, render_figures, show

__all__ = ["FIGURES", "render_figures", "show"]
