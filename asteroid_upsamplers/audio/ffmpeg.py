"""musdb and museval stop at import where ffmpeg is missing; this says so first, in one line."""

from __future__ import annotations

import shutil

from ..errors import UsageError


def require_ffmpeg() -> None:
    """Check that ``ffmpeg`` and ``ffprobe`` are on the PATH.

    Raises:
        UsageError: If one of them is not, with how to install them.
    """
    missing = [program for program in ("ffmpeg", "ffprobe") if shutil.which(program) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not found on the PATH; musdb and museval need it: "
            "'apt-get install ffmpeg', 'brew install ffmpeg' or 'conda install ffmpeg'"
        )
