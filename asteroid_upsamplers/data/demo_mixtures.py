"""Two-speaker mixtures rendered from a seed, in LibriMix's layout, to try a speech recipe with.

A man and a woman speak at the same time: ``espeak-ng`` says random words where it is installed,
else a synthetic voice says random syllables.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio import read_wav, resample_file, write_wav
from ..errors import UsageError
from ..files import whole_or_nothing
from . import demo_voice
from .identity import read_notes
from .rendered_songs import require_at_least

BUILDS = ("man", "woman")
SETTINGS = "settings.json"
VOICES = ("auto", "espeak-ng", "synthetic")
LEVEL_DBFS = -26.0
SPREAD_DB = 3.0
"""How much louder or softer than :data:`LEVEL_DBFS` a speaker may be."""

WORDS = (
    "river stone paper window yellow garden seven morning table children open water letter "
    "music country answer simple mountain winter evening doctor number travel market picture "
    "silver question button forest island kitchen ladder minute narrow orange pocket quiet "
    "ribbon summer teacher under village weather person machine history together remember "
    "between another"
)
ESPEAK = {"man": ("m1", "m2", "m3", "m4", "m7"), "woman": ("f1", "f2", "f3", "f4", "f5")}


def render_demo_mixtures(
    root: Path,
    n_train: int = 200,
    n_dev: int = 20,
    n_test: int = 20,
    seconds: float = 3.0,
    sample_rate: int = 8000,
    seed: int = 0,
    voices: str = "auto",
    progress: bool = True,
) -> dict[str, Path]:
    """Write mixtures of two speakers and a metadata file for each subset.

    Files are ``root/wav/<subset>/{mix_clean,s1,s2}/<id>.wav``, 16 bit, and
    ``root/metadata/<subset>/mixture_<subset>_mix_clean.csv``, as ``asteroid.data.LibriMix`` reads
    them with the task ``sep_clean``. Mixtures are the exact sums of their sources. A subset that is
    there already is kept; one that was rendered with other settings is refused.

    Args:
        root: Folder of the set.
        n_train: Mixtures to train on, at least 1.
        n_dev: Mixtures to validate on, at least 1.
        n_test: Mixtures to test on, at least 1.
        seconds: Length of every mixture, at least 1.
        sample_rate: In Hz, at least 8000.
        seed: Which mixtures; the subsets never share one.
        voices: ``"espeak-ng"``, ``"synthetic"``, or ``"auto"``: the first where it is installed.
        progress: Whether to show a progress bar.

    Returns:
        The metadata folder of each subset: ``train``, ``dev`` and ``test``.

    Raises:
        UsageError: For an impossible setting, or a folder rendered with others.
    """
    counts = {"train": n_train, "dev": n_dev, "test": n_test}
    require_at_least(1, n_train=n_train, n_dev=n_dev, n_test=n_test, seconds=seconds)
    require_at_least(0, seed=seed)
    require_at_least(8000, sample_rate=sample_rate)
    speaks = _espeak_is_to_speak(voices)
    folders = {subset: root / "metadata" / subset for subset in counts}
    for number, (subset, count) in enumerate(counts.items()):
        settings = {"n": count, "seconds": seconds, "sample_rate": sample_rate, "seed": seed}
        noted: dict = settings | {"voices": "espeak-ng" if speaks else "synthetic"}
        if _is_rendered(folders[subset], noted):
            continue
        rows, wavs = [], root / "wav" / subset
        with whole_or_nothing(wavs) as partial:
            for index in tqdm(range(count), f"{subset} mixtures", disable=not progress):
                rng = np.random.default_rng((seed, number, index))
                name, signals = _mixture(index, seconds, sample_rate, rng, speaks)
                rows.append(_row(wavs.resolve(), name, len(signals["s1"])))
                for kind, signal in signals.items():
                    path = partial / kind / f"{name}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_wav(path, signal, sample_rate, subtype="PCM_16")
        _write_table(folders[subset], rows, noted)
    return folders


def _write_table(folder: Path, rows: list[dict[str, str | int]], settings: dict) -> None:
    with whole_or_nothing(folder) as partial:
        partial.mkdir()
        with (partial / f"mixture_{folder.name}_mix_clean.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        (partial / SETTINGS).write_text(json.dumps(settings))


def _is_rendered(folder: Path, settings: dict) -> bool:
    """Whether a subset is there; :func:`render_demo_mixtures` says when it is refused."""
    before = read_notes(folder / SETTINGS)
    for key, value in settings.items():
        if before.get(key, value) != value:
            raise UsageError(
                f"{folder}: rendered with {key} {before[key]}, not {value}; choose another folder"
            )
    return folder.is_dir()


def _espeak_is_to_speak(voices: str) -> bool:
    """Whether espeak-ng makes the voices; :func:`render_demo_mixtures` says when it does."""
    if voices not in VOICES:
        raise UsageError(f"voices is {voices!r}: must be one of {', '.join(VOICES)}")
    found = shutil.which("espeak-ng") is not None
    if voices == "espeak-ng" and not found:
        raise UsageError("espeak-ng not found on the PATH: 'apt-get install espeak-ng'")
    return found and voices != "synthetic"


def render_speaker(
    build: str, seconds: float, sample_rate: int, rng: demo_voice.Random, speaks: bool
) -> np.ndarray:
    """The voice of a ``"man"`` or ``"woman"``: ``(frames,)``, float64, near :data:`LEVEL_DBFS`.

    ``speaks`` says whether espeak-ng says words, else a synthetic voice says syllables.
    """
    make = _words if speaks else _syllables
    voice = make(build, round(seconds * sample_rate), sample_rate, rng)
    level = LEVEL_DBFS + rng.uniform(-SPREAD_DB, SPREAD_DB)
    return voice * 10 ** (level / 20) / max(1e-9, float(np.sqrt(np.mean(voice**2))))


def _mixture(
    index: int, seconds: float, sample_rate: int, rng: demo_voice.Random, speaks: bool
) -> tuple[str, dict[str, np.ndarray]]:
    """The name of a mixture, and its three files as int16."""
    order = [BUILDS[i] for i in rng.permutation(len(BUILDS))]
    sources = [render_speaker(build, seconds, sample_rate, rng, speaks) for build in order]
    loudest = max(float(np.abs(s).max()) for s in (*sources, sum(sources)))
    gain = min(1.0, 0.95 / loudest) * 2**15
    first, second = (np.round(s * gain).astype(np.int16) for s in sources)
    name = "_".join(f"{build}{index}" for build in order)
    return name, {"mix_clean": first + second, "s1": first, "s2": second}


def _row(wavs: Path, name: str, frames: int) -> dict[str, str | int]:
    return {
        "mixture_ID": name,
        "mixture_path": str(wavs / "mix_clean" / f"{name}.wav"),
        "source_1_path": str(wavs / "s1" / f"{name}.wav"),
        "source_2_path": str(wavs / "s2" / f"{name}.wav"),
        "length": frames,
    }


def _words(build: str, frames: int, rate: int, rng: demo_voice.Random) -> np.ndarray:
    """Random words, said by espeak-ng."""
    voice = ESPEAK[build][rng.integers(len(ESPEAK[build]))]
    pitch = rng.integers(20, 60) if build == "man" else rng.integers(40, 80)
    with tempfile.TemporaryDirectory() as folder:
        said, resampled = Path(folder, "said.wav"), Path(folder, "resampled.wav")
        pieces: list[np.ndarray] = []
        while sum(map(len, pieces)) < frames:
            text = " ".join(rng.choice(WORDS.split(), size=12))
            words = ["espeak-ng", "-v", f"en+{voice}", "-p", str(pitch)]
            words += ["-s", str(rng.integers(140, 190)), "-w", str(said), text]
            subprocess.run(words, check=True, capture_output=True)
            resample_file(said, resampled, rate)
            pieces.append(read_wav(resampled)[0].numpy().astype(np.float64))
    return np.concatenate(pieces)[:frames]


def _syllables(build: str, frames: int, rate: int, rng: demo_voice.Random) -> np.ndarray:
    """Random syllables as fast and as high as speech, with pauses, by a synthetic voice."""
    time, line = rng.uniform(0, 0.2), []
    pitch = rng.uniform(43, 50) if build == "man" else rng.uniform(54, 60)  # MIDI, 98 to 262 Hz
    end = frames / rate
    while time < end - 0.1:
        phrase = rng.integers(3, 9)
        for number in range(phrase):
            seconds = rng.uniform(0.12, 0.3)
            falling = 2 - 4 * number / phrase + rng.normal(0, 0.8)
            vowel, hiss = str(rng.choice(list(demo_voice.FORMANTS))), bool(rng.random() < 0.3)
            line.append(demo_voice.Syllable(time, seconds, pitch + falling, vowel, hiss))
            time += seconds
        time += rng.uniform(0.1, 0.4)
    line = [syllable for syllable in line if syllable.onset < end - 0.1]
    return demo_voice.sing(line, build, frames, rng, rate)
