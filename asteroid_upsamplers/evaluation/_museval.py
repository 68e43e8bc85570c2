"""museval, imported once it is certain that it can be: without ffmpeg its import stops."""

import numpy as np

from ..data import require_ffmpeg

require_ffmpeg()
import museval  # noqa: E402

if not hasattr(np.linalg, "linalg"):
    # Where two channels are equal to the last bit, museval 0.4.1 catches
    # np.linalg.linalg.LinAlgError and goes on by least squares; NumPy 2.4 dropped that name.
    np.linalg.linalg = np.linalg  # type: ignore[attr-defined]

__all__ = ["museval"]
