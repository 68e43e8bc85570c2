"""museval, imported when it is needed: without ffmpeg its import stops."""

from types import ModuleType

import numpy as np

from ..audio import require_ffmpeg


def load_museval() -> ModuleType:
    """The module ``museval``.

    Raises:
        UsageError: If ffmpeg is missing.
    """
    require_ffmpeg()
    import museval

    if not hasattr(np.linalg, "linalg"):
        # Where two channels are equal to the last bit, museval 0.4.1 catches
        # np.linalg.linalg.LinAlgError and goes on by least squares; NumPy 2.4 dropped that name.
        np.linalg.linalg = np.linalg  # type: ignore[attr-defined]
    return museval
