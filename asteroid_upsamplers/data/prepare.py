"""Stage 0: from what the user has (MUSDB18, MUSDB18-HQ, nothing) to a checked folder of wav files.

The stems of MUSDB18 are decoded by musdb to 16-bit samples, which are written as they are. Decoding
runs in parallel; a song appears under its name only when all its files are whole, so an interrupted
conversion goes on where it stopped.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ..audio import read_wav, require_ffmpeg, resample_file, write_wav
from ..errors import UsageError
from ..files import LOCK, locked, whole_or_nothing
from .packed import pack_songs
from .parallel import for_each
from .songs import MIXTURE, SOURCES, Song, find_songs, shorten

STEM_SUFFIX = ".stem.mp4"
STREAMS = (MIXTURE, *SOURCES)
"""The audio streams of a stem file, in their order (musdb's ``stem_ids``)."""

_AAC_FRAME = 1024
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
) -> Path:
    """Make a checked folder of wav files out of ``musdb18_dir``.

    Args:
        musdb18_dir: MUSDB18 (``.stem.mp4``), or MUSDB18-HQ (wav), checked and used as it is.
        wav_dir: Where to convert the stems to.
        sample_rate: The rate every file must have, in Hz.
        jobs: Songs at a time; one a core if ``None``.
        progress: Whether to show a progress bar.

    Returns:
        The folder that :func:`find_songs` reads.

    Raises:
        UsageError: If there is no set, or if songs in it cannot be used. The others are converted
            all the same.
    """
    stems = find_stems(musdb18_dir)
    if stems:
        convert(stems, wav_dir, sample_rate, jobs, progress)
    root = wav_root(musdb18_dir, wav_dir)
    songs = [song for subset in ("train", "test") for song in find_songs(root, subset, sample_rate)]
    if stems:
        wanted = {(path.parent.name, path.name[: -len(STEM_SUFFIX)]) for path in stems}
        foreign = [s for s in songs if (s.folder.parent.name, s.name) not in wanted]
        if foreign:
            listing = shorten([str(song.folder) for song in foreign])
            raise UsageError(f"songs that are not in {musdb18_dir}: {listing}; remove them")
    paths = [song.path(stream) for song in songs for stream in STREAMS]
    files = [p for p in paths if p.exists() and soundfile.info(p).subtype in ("FLOAT", "DOUBLE")]
    for_each(read_wav, files, "checking float samples", jobs, progress)
    return root


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
    musdb18_dir: Path, wav_dir: Path, subset: str, sample_rate: int, progress: bool = True
) -> list[Song]:
    """The songs of a set at any sample rate.

    Those with another rate are resampled once, in parallel, to 32-bit float files in the folder
    ``<wav_dir>_<sample_rate>``; whole songs there are kept.

    Args:
        musdb18_dir: As :func:`prepare` takes it.
        wav_dir: As :func:`prepare` takes it.
        subset: ``"train"`` or ``"test"``.
        sample_rate: In Hz.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: If there is no set, or songs in it cannot be used.
    """
    root = wav_root(musdb18_dir, wav_dir)
    own_rate = rate_of_set(root) or sample_rate
    songs = find_songs(root, subset, own_rate)
    if own_rate == sample_rate:
        return songs
    resampled = wav_dir.with_name(f"{wav_dir.name}_{sample_rate}")
    folder = resampled / subset
    streams = STREAMS if subset == "test" else SOURCES

    def resample(song: Song) -> None:
        with whole_or_nothing(folder / song.name) as partial:
            partial.mkdir()
            for stream in streams:
                resample_file(song.path(stream), partial / f"{stream}.wav", sample_rate)

    def missing() -> list[Song]:
        return [song for song in songs if not (folder / song.name).is_dir()]

    if missing():
        with locked(resampled / LOCK, wait=True):  # processes that train together start together
            for_each(resample, missing(), f"resampling to {sample_rate} Hz", None, progress)
    names = {song.name for song in songs}
    return [s for s in find_songs(resampled, subset, sample_rate) if s.name in names]


def training_songs(
    musdb18_dir: Path,
    wav_dir: Path,
    sample_rate: int,
    packed: bool,
    verify: bool = False,
    progress: bool = True,
) -> list[Song]:
    """The songs to train and validate on, in the form that is read fastest.

    Args:
        musdb18_dir: As :func:`prepare` takes it.
        wav_dir: As :func:`prepare` takes it.
        sample_rate: In Hz; songs of another rate are resampled (:func:`songs_at_rate`).
        packed: Whether to read packed copies (:mod:`.packed`), in ``<wav_dir>_packed`` or
            ``<wav_dir>_<sample_rate>_packed``; those that are missing are made.
        verify: Whether to check every byte of the packed copies that are there.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: If there is no set, songs in it cannot be used, or there is no room for them.
    """
    songs = songs_at_rate(musdb18_dir, wav_dir, "train", sample_rate, progress)
    if not packed:
        return songs
    own_rate = rate_of_set(wav_root(musdb18_dir, wav_dir)) == sample_rate
    name = wav_dir.name if own_rate else f"{wav_dir.name}_{sample_rate}"
    folder = wav_dir.with_name(f"{name}_packed") / "train"
    return [*pack_songs(songs, folder, verify, progress)]


def rate_of_set(root: Path) -> int | None:
    """The sample rate in Hz of a folder of wav files, that of its first song; ``None`` without one.

    Raises:
        UsageError: If that song cannot be read.
    """
    path = min(root.glob(f"train/[!.]*/{SOURCES[0]}.wav"), default=None)
    if path is None:
        return None
    try:
        return soundfile.info(path).samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None


def find_stems(musdb18_dir: Path) -> list[Path]:
    """The ``.stem.mp4`` files of a set, by subset and name."""
    return [
        path
        for subset in ("train", "test")
        for path in sorted((musdb18_dir / subset).glob(f"[!.]*{STEM_SUFFIX}"))
    ]


def convert(
    stems: Sequence[Path], wav_dir: Path, sample_rate: int, jobs: int | None, progress: bool
) -> None:
    """Decode stem files to ``wav_dir/<subset>/<song>/<stream>.wav``; whole ones are kept.

    Raises:
        UsageError: After all others are converted, if some could not be, naming them and why.
    """
    require_ffmpeg()

    def convert_one(path: Path) -> None:
        name = path.name[: -len(STEM_SUFFIX)]
        _convert_stem(path, wav_dir / path.parent.name / name, sample_rate)

    with locked(wav_dir / LOCK, wait=True):
        for_each(convert_one, stems, "converting stems", jobs, progress)


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
            ) from None
    return root


def _convert_stem(path: Path, folder: Path, sample_rate: int) -> None:
    import musdb

    try:
        track = musdb.MultiTrack(
            path=str(path), name=folder.name, subset=folder.parent.name, stem_id=0
        )
        expected = round(track.duration * track.rate)
        rate, streams = int(track.rate), len(track.info.audio_streams)
    except Exception as error:  # stempeg and ffmpeg-python raise many kinds, Warning among them
        raise UsageError(f"{path}: not a stem file, or truncated ({_reason(error)})") from None
    if rate != sample_rate:
        raise UsageError(f"{path}: {rate} Hz, {sample_rate} Hz is needed")
    if streams != len(STREAMS):
        raise UsageError(f"{path}: {streams} audio streams, {len(STREAMS)} are needed")
    if _is_converted(folder, expected, sample_rate):
        return
    try:
        audio = track.stems
    except Exception as error:
        raise UsageError(f"{path}: cannot be decoded, damaged? ({_reason(error)})") from None
    if audio.ndim != 3 or audio.shape[2] != 2:
        raise UsageError(f"{path}: stereo is needed")
    if abs(audio.shape[1] - expected) > 2 * _AAC_FRAME:
        raise UsageError(f"{path}: truncated, {audio.shape[1]} of {expected} samples decode")
    samples = np.round(audio * 2**15).astype(np.int16)
    with whole_or_nothing(folder) as partial:
        partial.mkdir()
        for stream, signal in zip(STREAMS, samples, strict=True):
            write_wav(partial / f"{stream}.wav", signal, sample_rate, subtype="PCM_16")


def _is_converted(folder: Path, expected: int, sample_rate: int) -> bool:
    try:
        infos = [soundfile.info(folder / f"{stream}.wav") for stream in STREAMS]
    except (soundfile.LibsndfileError, OSError):
        return False
    lengths = {info.frames for info in infos}
    return (
        len(lengths) == 1
        and abs(lengths.pop() - expected) <= 2 * _AAC_FRAME
        and all(info.samplerate == sample_rate for info in infos)
    )


def _reason(error: Exception) -> str:
    stderr = getattr(error, "stderr", None)  # ffmpeg's own words, the last line of which tells
    text = stderr.decode(errors="replace") if isinstance(stderr, bytes) else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[-1]
