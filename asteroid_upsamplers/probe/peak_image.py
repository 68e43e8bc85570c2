"""Images of large arrays in which thin lines stay visible."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox, TransformedBbox
from scipy.ndimage import maximum_filter

THICKNESS = 2.0
"""Of a line of one row or column, in points, if it would be thinner; at least three pixels."""


class PeakImage(AxesImage):
    """An image each of whose pixels shows the greatest of the values that fall on it.

    Of an array with more rows or columns than the picture has pixels, Matplotlib shows every
    n-th or a mean, in which a line of one row is lost. Here it is seen at its own level and place,
    whatever the resolution; ``get_array()`` is the whole array all the same.
    """

    _A: Any

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        """The pixels, as Matplotlib asks for them while it draws."""
        left, right, bottom, top = self.get_extent()
        box = TransformedBbox(Bbox.from_extents(left, bottom, right, top), self.get_transform())
        pixels = [max(1, int(abs(n) * magnification)) for n in (box.height, box.width)]
        thickness = max(3, THICKNESS * magnification * self.axes.figure.dpi / 72)
        whole = self._A
        self._A = loudest(whole, *pixels)
        sizes = zip(self._A.shape, pixels, strict=True)
        odd = [round(thickness * cells / n) // 2 * 2 + 1 for cells, n in sizes]
        self._A = maximum_filter(self._A, odd, mode="nearest")
        try:
            return super().make_image(renderer, magnification, unsampled)
        finally:
            self._A = whole


def loudest(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The greatest values of ``rows`` by ``columns`` blocks; an array that is smaller stays.

    Example:
        >>> loudest(np.array([[1, 5, 2, 3], [0, 1, 4, 2]]), 2, 2)
        array([[5, 3],
               [1, 4]])
    """
    for axis, cells in enumerate((rows, columns)):
        if values.shape[axis] > cells:
            starts = np.arange(cells) * values.shape[axis] // cells
            values = np.maximum.reduceat(values, starts, axis=axis)
    return values
