"""Stage 0: from what the user has (MUSDB18, MUSDB18-HQ, nothing) to songs that can be read.

MUSDB18's ``.stem.mp4`` files become wav files, and songs of another sample rate are resampled; both
are copies that follow their originals (:mod:`.copies`). Other stages ask for songs in the same way,
so that no stage reads a copy of what is no longer in the set.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from ..audio import require_ffmpeg, resample_file
from ..errors import UsageError
from ..files import file_names, whole_or_nothing
from .copies import update_copies
from .examine import examine_songs
from .finding import (
    STEMS,
    WRONG_RATE,
    Found,
    check_songs,
    list_songs,
    looks_like_audio,
    refuse_problems,
    wanted_files,
    with_other_stems,
)
from .songs import MIXTURE, SOURCES, Song, split_validation
from .stems import decode_stems

logger = logging.getLogger(__name__)

SUBSETS = ("train", "test")
STEM_RATE = 44100
"""Sample rate of MUSDB18 in Hz."""

_HOW_TO_GET = (
    "MUSDB18 and MUSDB18-HQ are given on request (zenodo.org/record/1117372 and 3338373); unpack "
    "one and pass --musdb18_dir DIR, or pass --download_sample for musdb's own 7-second excerpts, "
    "or --demo for songs rendered here"
)

_OTHER_RATE = (
    "a whole set of another rate needs no stage 0: with --stage 1 its songs are resampled for "
    "training, or trained on as they are with -- --sample_rate and their rate"
)


def prepare(
    musdb18_dir: Path,
    wav_dir: Path,
    sample_rate: int = STEM_RATE,
    jobs: int | None = None,
    progress: bool = True,
    sources: Sequence[str] = SOURCES,
    skip_bad_songs: bool = False,
) -> Path:
    """Make folders of checked songs out of ``musdb18_dir``, and say how many there are.

    Args:
        musdb18_dir: MUSDB18 (``.stem.mp4``), or folders of wav or flac files in the layout of
            MUSDB18-HQ, which are checked and used as they are.
        wav_dir: Where to convert the stems to; a folder beside it is taken where it holds the songs
            of another set.
        sample_rate: The rate every file must have, in Hz.
        jobs: Songs at a time; one a core if ``None``.
        progress: Whether to show a progress bar.
        sources: Names of the files every song must have.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Returns:
        The folder that :func:`find_songs` reads.

    Raises:
        UsageError: If there is no set, or if songs in it cannot be used. The others are converted
            all the same.
    """
    subsets = [
        _songs_of_set(musdb18_dir, wav_dir, subset, sources, sample_rate, jobs, progress)
        for subset in SUBSETS
    ]
    try:
        refuse_problems(subsets, skip_bad_songs)
    except UsageError as error:
        problems = (item for found in subsets for item in found.problems.items())
        if any(path.is_dir() and problem.endswith(WRONG_RATE) for path, problem in problems):
            raise UsageError(f"{error}; {_OTHER_RATE}") from None
        raise
    _warn_of_other_folders(musdb18_dir)
    train = subsets[0].songs
    if len(train) > 1:
        split_validation(train)  # says how many there are of each
    return train[0].folder.parents[1]


def songs_at_rate(
    musdb18_dir: Path,
    wav_dir: Path,
    subset: str,
    sample_rate: int | None = None,
    progress: bool = True,
    sources: Sequence[str] = SOURCES,
    skip_bad_songs: bool = False,
) -> list[Song]:
    """The songs of a set at any sample rate.

    If the set has another rate, its songs are resampled once, in parallel, to 32-bit float files in
    the folder ``<wav_dir>_<sample_rate>``. Songs that are there are kept, unless those of the set
    have changed.

    Args:
        musdb18_dir: As :func:`prepare` takes it.
        wav_dir: As :func:`prepare` takes it.
        subset: ``"train"`` or ``"test"``.
        sample_rate: In Hz; that of the set if ``None``.
        progress: Whether to show a progress bar.
        sources: Names of the files every song must have.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Raises:
        UsageError: If there is no set, or songs in it cannot be used.
    """
    found = _songs_of_set(musdb18_dir, wav_dir, subset, sources, None, None, progress)
    songs = found.usable(skip_bad_songs)
    if sample_rate is not None and sample_rate != songs[0].sample_rate:
        found = _resample(found, musdb18_dir, wav_dir, subset, sample_rate, sources, progress)
        songs = found.usable(skip_bad_songs) if found.problems else found.songs
    return songs


def _songs_of_set(
    musdb18_dir: Path,
    wav_dir: Path,
    subset: str,
    sources: Sequence[str],
    sample_rate: int | None,
    jobs: int | None,
    progress: bool,
) -> Found:
    """The songs of a subset as wav or flac files, decoded first where they are stems."""
    if MIXTURE in file_names("sources", sources):
        raise UsageError(f"sources: '{MIXTURE}' is the sum of the others; leave it out")
    found, wanted = list_songs(musdb18_dir, subset), wanted_files(subset, sources)
    folders, notes_dir = found.entries, wav_dir
    if not (found.entries or found.problems):
        _require_set(musdb18_dir)
    elif any(path.is_file() for path in found.entries.values()):
        notes_dir, folders = _decode(found, musdb18_dir, wav_dir, subset, jobs, progress)
    check_songs(found, folders, wanted, sample_rate)
    examine_songs(found, wanted, notes_dir, jobs, progress)
    return found


def _decode(
    found: Found,
    musdb18_dir: Path,
    wav_dir: Path,
    subset: str,
    jobs: int | None,
    progress: bool,
) -> tuple[Path, dict[str, Path]]:
    """Decode the ``.stem.mp4`` files of a subset; gives the folder of all, and each by name."""
    require_ffmpeg()

    def decode(folder: Path, paths: Sequence[Path]) -> None:
        decode_stems(folder, paths[0], STEM_RATE)

    stems = {}
    for name, path in found.entries.items():
        if path.is_file():
            stems[Path(subset, name)] = [path]
        else:
            found.problems[path] = f"{path}: a folder among {STEMS} files; keep them apart"
    root, problems = update_copies(
        wav_dir, musdb18_dir, stems, stems, decode, "16-bit wav", "converting stems", jobs, progress
    )
    found.problems |= {stems[folder][0]: problem for folder, problem in problems.items()}
    return root, {f.name: root / f for f in stems if f not in problems}


def _resample(
    found: Found,
    musdb18_dir: Path,
    wav_dir: Path,
    subset: str,
    sample_rate: int,
    sources: Sequence[str],
    progress: bool,
) -> Found:
    """Songs at another rate, in the place of those that were found."""
    songs = [with_other_stems(song) for song in found.songs]  # other runs ask for other sources
    by_folder = {Path(subset, song.name): song for song in songs}

    def resample(folder: Path, paths: Sequence[Path]) -> None:
        for name, path in by_folder[Path(subset, paths[0].parent.name)].files.items():
            resample_file(path, folder / f"{name}.wav", sample_rate)

    root, problems = update_copies(
        wav_dir.with_name(f"{wav_dir.name}_{sample_rate}"),
        musdb18_dir,
        {folder: [*song.files.values()] for folder, song in by_folder.items()},
        {Path(subset, name) for name in found.entries},
        resample,
        f"{sample_rate} Hz by julius {metadata.version('julius')}",
        f"resampling to {sample_rate} Hz",
        None,
        progress,
    )
    resampled = Found(root / subset, {song.name: song.folder for song in songs})
    resampled.problems = {by_folder[f].folder: problem for f, problem in problems.items()}
    folders = {f.name: root / f for f in by_folder if f not in problems}
    check_songs(resampled, folders, wanted_files(subset, sources), sample_rate)
    return resampled


def _require_set(musdb18_dir: Path) -> None:
    """Refuse a folder without songs in either subset."""
    if any(list_songs(musdb18_dir, subset).entries for subset in SUBSETS):
        return
    below = sorted(p for p in musdb18_dir.glob("*/*") if p.is_dir() and p.name.lower() == "train")
    hint = f"Is it {below[0].parent}? " if below else ""
    if not below and any(looks_like_audio(path) for path in musdb18_dir.glob("*/*")):
        hint = "Songs must lie in its folders train and test. "
    raise UsageError(f"{musdb18_dir}: no MUSDB18 here. {hint}{_HOW_TO_GET}")


def _warn_of_other_folders(musdb18_dir: Path) -> None:
    """Name folders beside ``train`` and ``test`` that hold songs."""
    for folder in sorted(p for p in musdb18_dir.glob("[!.]*") if p.is_dir()):
        paths = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))
        if folder.name.lower() not in SUBSETS and any(looks_like_audio(p) for p in paths):
            logger.warning("%s: not read, songs lie in train/ and test/", folder)


def download_sample(root: Path, setup_file: str | None = None) -> Path:
    """Fetch musdb's own 7-second excerpts of MUSDB18 into ``root``, unless they are there.

    Args:
        root: Where to put them.
        setup_file: Another settings file for musdb (with its own ``sample-url``).

    Raises:
        UsageError: If they cannot be fetched.
    """
    require_ffmpeg()
    import musdb

    if root.exists() and any(root.iterdir()):
        if not any(list_songs(root, subset).entries for subset in SUBSETS):
            raise UsageError(f"{root}: holds something else than musdb's excerpts; remove it")
    else:
        try:
            with whole_or_nothing(root) as partial:
                musdb.DB(root=str(partial), download=True, setup_file=setup_file)
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"musdb's excerpts cannot be downloaded ({error}); check the network, or pass "
                "--musdb18_dir DIR or --demo"
            ) from error
    return root
