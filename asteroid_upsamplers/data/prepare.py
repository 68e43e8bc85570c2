"""Stage 0: from what the user has (MUSDB18, MUSDB18-HQ, nothing) to a checked folder of wav files.

A song appears under its name only when all its files are whole, so an interrupted conversion goes
on where it stopped.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..audio import audio_info, read_blocks, require_ffmpeg, resample_file
from ..errors import UsageError
from ..files import whole_or_nothing
from .copies import update_copies
from .parallel import for_each, raise_problems
from .songs import MIXTURE, SOURCES, Song, find_songs
from .stems import decode_stems, find_stems

logger = logging.getLogger(__name__)

_HOW_TO_GET = (
    "MUSDB18 and MUSDB18-HQ are given on request (zenodo.org/record/1117372 and 3338373); unpack "
    "one and pass --musdb18_dir DIR, or pass --download_sample for musdb's own 7-second excerpts, "
    "or --demo for songs rendered here"
)


def prepare(
    musdb18_dir: Path,
    wav_dir: Path,
    sample_rate: int = 44100,
    jobs: int | None = None,
    progress: bool = True,
    sources: Sequence[str] = SOURCES,
    skip_bad_songs: bool = False,
) -> Path:
    """Make a checked folder of wav files out of ``musdb18_dir``.

    Args:
        musdb18_dir: MUSDB18 (``.stem.mp4``), or folders of wav files in the layout of MUSDB18-HQ,
            which are checked and used as they are.
        wav_dir: Where to convert the stems to.
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
    stems = find_stems(musdb18_dir)
    if stems:
        require_ffmpeg()

        def convert(folder: Path, paths: Sequence[Path]) -> None:
            decode_stems(folder, paths[0], sample_rate)

        update_copies(wav_dir, stems, convert, "converting stems", jobs, progress)
    root = wav_root(musdb18_dir, wav_dir)
    train, test = (
        find_songs(root, part, sample_rate, sources, skip_bad_songs=skip_bad_songs)
        for part in ("train", "test")
    )
    songs = [*train, *test]
    foreign = [song for song in songs if stems and song.folder.relative_to(root) not in stems]
    problems = [f"{song.folder}: not in {musdb18_dir}; remove it" for song in foreign]
    raise_problems(problems, len(songs), "songs")
    paths = [song.path(name) for song in songs for name in (MIXTURE, *sources)]
    files = [p for p in paths if p.exists() and audio_info(p).subtype in ("FLOAT", "DOUBLE")]
    for_each(_read_through, files, "checking float samples", jobs, progress)
    logger.info("%s: %d training songs, %d test songs", root, len(train), len(test))
    return root


def _read_through(path: Path) -> None:
    for _ in read_blocks(path):
        pass


def wav_root(musdb18_dir: Path, wav_dir: Path) -> Path:
    """Where the wav files of a set are: converted ones in ``wav_dir``, else the set itself.

    Raises:
        UsageError: If there is no set in ``musdb18_dir``, with how to get one.
    """
    if find_stems(musdb18_dir):
        return wav_dir
    if any(musdb18_dir.glob("train/*/*.wav")):
        return musdb18_dir
    raise UsageError(f"{musdb18_dir}: no MUSDB18 here. {_HOW_TO_GET}")


def songs_at_rate(
    musdb18_dir: Path,
    wav_dir: Path,
    subset: str,
    sample_rate: int,
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
        sample_rate: In Hz.
        progress: Whether to show a progress bar.
        sources: Names of the files every song must have.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Raises:
        UsageError: If there is no set, or songs in it cannot be used.
    """
    root = wav_root(musdb18_dir, wav_dir)
    own_rate = rate_of_set(root) or sample_rate
    songs = find_songs(root, subset, own_rate, sources, skip_bad_songs=skip_bad_songs)
    if own_rate == sample_rate:
        return songs
    resampled = wav_dir.with_name(f"{wav_dir.name}_{sample_rate}")
    names = (*sources, MIXTURE) if subset == "test" else tuple(sources)
    originals = {Path(subset, song.name): [song.path(name) for name in names] for song in songs}

    def resample(folder: Path, paths: Sequence[Path]) -> None:
        for path in sorted(paths[0].parent.glob("*.wav")):  # other runs may ask for other sources
            resample_file(path, folder / path.name, sample_rate)

    update_copies(resampled, originals, resample, f"resampling to {sample_rate} Hz", None, progress)
    wanted = {song.name for song in songs}
    return [s for s in find_songs(resampled, subset, sample_rate, sources) if s.name in wanted]


def rate_of_set(root: Path) -> int | None:
    """The sample rate in Hz of a folder of songs, that of its first file; ``None`` without one.

    Raises:
        UsageError: If that file cannot be read.
    """
    path = min(root.glob("train/[!.]*/*.wav"), default=None)
    return None if path is None else audio_info(path).samplerate


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

    if not find_stems(root):
        try:
            with whole_or_nothing(root) as partial:
                musdb.DB(root=str(partial), download=True, setup_file=setup_file)
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"musdb's excerpts cannot be downloaded ({error}); check the network, or pass "
                "--musdb18_dir DIR or --demo"
            ) from error
    return root
