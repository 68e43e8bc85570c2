"""Scoring: against museval's own entry point, and what it does where museval refuses."""

from __future__ import annotations

import gzip
import json
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import musdb
import museval
import numpy as np
import pytest
import soundfile
import threadpoolctl

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation import scoring
from asteroid_upsamplers.evaluation.aggregation import METRICS, read_scores
from asteroid_upsamplers.evaluation.scoring import ScoringJob, score_song, score_songs

RATE = 8000
STEMS = ("vocals", "drums", "bass")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """BLAS threads that wait for each other on a busy machine double the time of these tests."""
    with threadpoolctl.threadpool_limits(1):
        yield


def noise(seed: int, seconds: float = 2.5, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * RATE), channels))


def write_stems(folder: Path, stems: dict[str, np.ndarray], rate: int = RATE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, audio in stems.items():
        soundfile.write(folder / f"{stem}.wav", audio, rate, subtype="DOUBLE")
    return folder


def song(stems=STEMS, **shape) -> tuple[dict, dict]:
    """References and estimates: each stem with some noise and a little of the next stem."""
    references = {stem: noise(i, **shape) for i, stem in enumerate(stems)}
    neighbours = [references[stem] for stem in (*stems[1:], stems[0])]
    estimates = {
        stem: references[stem] + 0.3 * neighbour + 0.2 * noise(10 + i, **shape)
        for i, (stem, neighbour) in enumerate(zip(stems, neighbours, strict=True))
    }
    return references, estimates


def write_song(folder: Path, references: dict, estimates: dict) -> tuple[Path, Path]:
    return write_stems(folder / "true", references), write_stems(folder / "estimated", estimates)


def frames(store: museval.TrackStore) -> dict[str, np.ndarray]:
    """Scores in dB of each stem, shape (metric, frame)."""
    return {
        target["name"]: np.array(
            [[float(frame["metrics"][m]) for frame in target["frames"]] for m in METRICS]
        )
        for target in store.scores["targets"]
    }


def test_same_as_museval_on_a_musdb_track(tmp_path):
    """On 16-bit references: musdb reads every wav file as 16-bit integers."""
    stems = ("drums", "bass", "other", "vocals")
    references, estimates = song(stems, seconds=3.5)
    references = {stem: np.round(audio * 2**15) / 2**15 for stem, audio in references.items()}
    references["bass"][RATE : 2 * RATE] = 0  # one silent window
    folder = write_stems(tmp_path / "musdb" / "test" / "A - B", references)
    write_stems(folder, {"mixture": sum(references.values())})
    (tmp_path / "musdb" / "train").mkdir()
    (track,) = musdb.DB(root=tmp_path / "musdb", is_wav=True, subsets="test")
    expected = museval.eval_mus_track(track, estimates)

    store = score_song(folder, write_stems(tmp_path / "estimated", estimates), stems)
    assert store.track_name == expected.track_name == "A - B"
    assert [target["name"] for target in store.scores["targets"]] == list(stems)
    by_name = {target["name"]: target for target in expected.scores["targets"]}
    expected.scores["targets"] = [by_name[stem] for stem in stems]
    assert store.json == expected.json
    assert np.isfinite(frames(store)["vocals"]).tolist() == [[True, False, True]] * 4


def test_window_and_hop_in_seconds(tmp_path):
    references, estimates = song(STEMS[:2], channels=2)
    store = score_song(*write_song(tmp_path, references, estimates), STEMS[:2], win=0.5, hop=0.25)
    expected = museval.evaluate(
        list(references.values()), list(estimates.values()), win=RATE // 2, hop=RATE // 4
    )
    for i, stem in enumerate(STEMS[:2]):
        np.testing.assert_allclose(
            frames(store)[stem], [metric[i] for metric in expected], atol=1e-5
        )
    times = [frame["time"] for frame in store.scores["targets"][0]["frames"]]
    assert times == [0.25 * i for i in range(9)]
    assert {frame["duration"] for frame in store.scores["targets"][0]["frames"]} == {0.5}


def out_of_phase(audio):
    return np.concatenate([audio, -audio], axis=1)


SILENT = {  # Which references and which estimates are silent, and how: which stems have scores.
    "reference": (("drums",), (), 0, ("vocals", "bass")),
    "estimate": ((), ("vocals",), 0, ("drums", "bass")),
    "out of phase": ((), ("bass",), out_of_phase, ("vocals", "drums")),
    "two stems": (("drums",), ("vocals",), 0, ()),
    "whole song": (STEMS, STEMS, 0, ()),
    "all estimates": ((), STEMS, 0, ()),
}


@pytest.mark.parametrize(
    ("references_off", "estimates_off", "how", "scored"), SILENT.values(), ids=SILENT.keys()
)
def test_silent_stems_are_left_out(tmp_path, caplog, references_off, estimates_off, how, scored):
    references, estimates = song()
    if callable(how):  # museval adds the channels up before it looks for silence
        references = {stem: np.repeat(audio, 2, axis=1) for stem, audio in references.items()}
        estimates = {stem: np.repeat(audio, 2, axis=1) for stem, audio in estimates.items()}
    for off, audio in ((references_off, references), (estimates_off, estimates)):
        for stem in off:
            audio[stem] = how(noise(1)) if callable(how) else 0 * audio[stem]
    with pytest.raises(ValueError, match="non-silent"):  # what museval itself does
        museval.evaluate(list(references.values()), list(estimates.values()), win=RATE, hop=RATE)

    with caplog.at_level(logging.WARNING):
        store = score_song(*write_song(tmp_path / "Song 7", references, estimates), STEMS)
    values = frames(store)
    assert list(values) == list(STEMS)
    assert {stem for stem in STEMS if np.isfinite(values[stem]).all()} == set(scored)
    assert all(np.isnan(values[stem]).all() for stem in STEMS if stem not in scored)
    assert {array.shape for array in values.values()} == {(4, 2)}
    if scored:
        expected = museval.evaluate(
            [references[stem] for stem in scored],
            [estimates[stem] for stem in scored],
            win=RATE,
            hop=RATE,
        )
        for i, stem in enumerate(scored):
            np.testing.assert_allclose(values[stem], [m[i] for m in expected], atol=1e-5)
    (record,) = caplog.records
    assert all(stem in record.message for stem in {*references_off, *estimates_off})
    assert "true" in record.message and "\n" not in record.message


@pytest.mark.parametrize("samples", [1, 600, RATE - 1, RATE, RATE + 1])
def test_short_songs_have_one_frame_of_musevals_own_number(tmp_path, samples):
    references, estimates = song(STEMS[:2], seconds=samples / RATE)
    store = score_song(*write_song(tmp_path, references, estimates), STEMS[:2])
    expected = museval.evaluate(
        list(references.values()), list(estimates.values()), win=RATE, hop=RATE
    )
    for i, stem in enumerate(STEMS[:2]):
        assert frames(store)[stem].shape == (4, 1)
        np.testing.assert_allclose(frames(store)[stem], [m[i] for m in expected], atol=1e-5)


def test_an_empty_song_has_one_frame_without_a_score(tmp_path):
    store = score_song(*write_song(tmp_path, *song(seconds=0)), STEMS)
    assert all(np.isnan(array).all() and array.shape == (4, 1) for array in frames(store).values())


def test_equal_channels_are_solved_by_least_squares(tmp_path, monkeypatch):
    """A loud click in two equal channels makes museval's matrix singular to the last bit."""
    calls = []

    def quick_least_squares(matrix, right_side):  # NumPy's takes 4 s each
        calls.append(matrix.shape)
        return (np.linalg.solve(matrix + 1e-6 * np.eye(len(matrix)), right_side),)

    monkeypatch.setattr(np.linalg, "lstsq", quick_least_squares)
    click = np.zeros((RATE, 1))
    click[0] = 16
    stems = dict.fromkeys(("vocals", "drums"), click)
    halves = dict.fromkeys(stems, 0.5 * click)
    store = score_song(*write_song(tmp_path, stems, halves), list(stems))
    assert calls
    # Half the amplitude: the error is half the reference, all of it a matter of filtering.
    for values in frames(store).values():
        np.testing.assert_allclose(values[:2], 20 * math.log10(2), atol=1e-3)


def break_file(tmp_path: Path, kind: str) -> Path:
    """Write a good song, then spoil one file of it; give that file."""
    path = tmp_path / ("true" if kind.startswith("reference") else "estimated") / "drums.wav"
    audio, rate = soundfile.read(path)
    if kind.endswith(("NaN", "inf")):
        audio[1234] = float(kind.split()[1])
    elif kind.endswith("rate"):
        rate = 44100
    elif kind.endswith("shorter"):
        audio = audio[:-1]
    elif kind.endswith("longer"):
        audio = np.append(audio, 0.0)
    elif kind.endswith("stereo"):
        audio = np.stack([audio, audio], axis=1)
    soundfile.write(path, audio, rate, subtype="DOUBLE")
    if kind.endswith("missing"):
        path.unlink()
    elif kind.endswith("no wav"):
        path.write_text("no wav")
    return path


REFUSED = {
    "estimate NaN": ["NaN"],
    "reference inf": ["infinite"],
    "estimate rate": ["44100 Hz", "8000 Hz"],
    "reference rate": ["44100 Hz", "8000 Hz"],
    "estimate shorter": ["19999", "20000"],
    "estimate longer": ["20001", "20000"],
    "reference longer": ["20001", "20000"],
    "estimate stereo": ["(20000, 2)", "(20000, 1)"],
    "estimate missing": ["No such file"],
    "reference no wav": ["cannot read"],
}


@pytest.mark.parametrize(("kind", "words"), REFUSED.items(), ids=REFUSED.keys())
def test_unfit_files_are_named_in_one_line(tmp_path, kind, words):
    folders = write_song(tmp_path, *song())
    path = break_file(tmp_path, kind)
    with pytest.raises(UsageError) as caught:
        score_song(*folders, STEMS)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (str(path), *words)), message


@pytest.mark.parametrize(
    ("sources", "settings"),
    [
        ("vocals", {}),
        (["vocals"], {}),
        (["vocals", "vocals"], {}),
        (STEMS, {"win": 0.0}),
        (STEMS, {"win": math.inf}),
        (STEMS, {"hop": -1.0}),
        (STEMS, {"hop": 1e-5}),
        (STEMS, {"win": math.nan}),
    ],
)
def test_wrong_settings_are_refused(tmp_path, sources, settings):
    folders = write_song(tmp_path, *song(seconds=0.1))
    with pytest.raises(UsageError, match="must be"):
        score_song(*folders, sources, **settings)


def job(folder: Path, json_name: str) -> ScoringJob:
    return ScoringJob(folder.name, folder / "true", folder / "estimated", folder / json_name)


def test_score_songs_refuses_wrong_settings(tmp_path):
    jobs = [job(tmp_path / "a", "a.json")]
    for arguments, settings, word in (
        ((jobs * 2, STEMS), {}, "same json_path"),
        ((jobs, STEMS), {"workers": 0}, "workers must be"),
        ((jobs, ["vocals"]), {}, "sources must be"),
    ):
        with pytest.raises(UsageError, match=word):
            score_songs(*arguments, progress=False, **settings)


def test_score_songs(tmp_path, caplog, monkeypatch):
    """One run over good, failing, silent, kept and damaged songs; then the same with ``force``."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for name in ("MKL_NUM_THREADS", "MALLOC_MMAP_MAX_"):
        monkeypatch.delenv(name, raising=False)
    stems = ("drums", "bass")
    submitted, submit = [], scoring.ProcessPoolExecutor.submit

    def record(pool, function, job, *arguments):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        assert os.environ["MALLOC_MMAP_MAX_"] == "0"
        submitted.append(job.name)
        return submit(pool, function, job, *arguments)

    monkeypatch.setattr(scoring.ProcessPoolExecutor, "submit", record)
    names = {
        "plain": "plain.json",
        "zipped": "deeper/zipped.json.gz",
        "unlike": "unlike.json",
        "silent": "silent.json",
        "kept": "kept.json",
        "damaged": "damaged.json",
        "other stems": "other stems.json",
        "lost": "lost.json",
    }
    jobs = [job(tmp_path / name, json_name) for name, json_name in names.items()]
    for i, name in enumerate(names):
        if name != "lost":
            references, estimates = song(stems, seconds=2.0 + 0.1 * i)
            if name == "silent":
                references["bass"][:] = 0
            write_song(tmp_path / name, references, estimates)
    break_file(tmp_path / "unlike", "estimate shorter")
    paths = {job.name: Path(job.json_path) for job in jobs}
    expected = {
        name: score_song(tmp_path / name / "true", tmp_path / name / "estimated", stems)
        for name in names
        if name not in ("unlike", "lost")
    }
    caplog.clear()
    kept = expected["plain"].json  # not its own, to see that it is kept
    paths["kept"].write_text(kept)
    os.utime(paths["kept"], (1e9, 1e9))
    paths["damaged"].write_text(expected["damaged"].json[:-30])
    paths["other stems"].write_text(expected["damaged"].json.replace("bass", "other"))

    with pytest.raises(UsageError) as caught:
        score_songs(jobs, stems, workers=2, progress=False)
    message = str(caught.value)
    assert [part.split(":")[0] for part in message.split("; ")] == ["unlike", "lost"]
    assert "drums.wav" in message and "No such file" in message and "\n" not in message
    assert not paths["unlike"].exists() and not paths["lost"].exists()
    assert paths["kept"].read_text() == kept and paths["kept"].stat().st_mtime == 1e9
    largest_first = ["other stems", "damaged", "silent", "unlike", "zipped", "plain", "lost"]
    assert submitted == largest_first
    (record,) = caplog.records
    assert "silent: silent over the whole song: bass" in record.message
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert not {"MKL_NUM_THREADS", "MALLOC_MMAP_MAX_"} & os.environ.keys()
    assert not list(tmp_path.rglob("*.partial"))
    for name, store in expected.items():
        if name != "kept":
            assert_same_scores(paths[name], store)
    with gzip.open(paths["zipped"]) as file:
        assert json.load(file)["museval_version"] == store.scores["museval_version"]

    del submitted[:]
    done = [job for job in jobs if job.name in expected]
    assert score_songs(done, stems, progress=False) == [paths[job.name] for job in done]
    assert not submitted
    assert score_songs(done[3:4], stems, progress=False, force=True) == [paths["kept"]]
    assert submitted == ["kept"]
    assert_same_scores(paths["kept"], expected["kept"])


def assert_same_scores(path: Path, store: museval.TrackStore) -> None:
    got, expected = read_scores(path), store.df
    assert list(got["target"]) == list(expected["target"])
    np.testing.assert_allclose(got["score"], expected["score"], atol=1e-4)


def group(leader: int) -> set[int]:
    """Processes of a process group."""
    members = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == leader and state != "Z":
            members.add(int(entry.parent.name))
    return members


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
later = pytest.mark.parametrize("seconds_later", [0, 4], ids=["while they start", "at work"])


@pytest.fixture
def run(tmp_path):
    """A process that scores a long song in two workers, once these are there."""
    folders = write_song(tmp_path / "long", *song(seconds=300, channels=2))
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        from asteroid_upsamplers.errors import one_line_errors
        from asteroid_upsamplers.evaluation.scoring import ScoringJob, score_songs

        if __name__ == "__main__":
            jobs = [
                ScoringJob(str(i), {str(folders[0])!r}, {str(folders[1])!r}, f"{{i}}.json")
                for i in range(3)
            ]
            with one_line_errors():
                score_songs(jobs, {STEMS!r}, workers=2, progress=False)
        """)
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # This process, multiprocessing's resource tracker and two workers.
        assert wait_for(lambda: len(group(process.pid)) >= 4, 30)
        yield process
    finally:
        for member in group(process.pid):
            os.kill(member, signal.SIGKILL)
        process.communicate()


@needs_proc
@later
def test_ctrl_c_ends_the_workers_and_leaves_nothing_half_written(tmp_path, run, seconds_later):
    time.sleep(seconds_later)
    workers = group(run.pid) - {run.pid}
    for process in workers:  # Ctrl-C reaches all of them; they must leave it to the first
        os.kill(process, signal.SIGINT)
    time.sleep(1)
    assert group(run.pid) == {run.pid} | workers
    os.kill(run.pid, signal.SIGINT)
    before = time.monotonic()
    _, errors = run.communicate(timeout=20)
    assert time.monotonic() - before < 5
    assert run.returncode == 130
    assert errors == "interrupted: run the same command again to go on\n"
    assert wait_for(lambda: not group(run.pid), 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long", "script.py"]


@needs_proc
@later
def test_workers_end_with_a_parent_that_was_killed(run, seconds_later):
    """It cannot end them itself, and the song would keep them for minutes."""
    time.sleep(seconds_later)
    run.kill()
    run.wait()
    assert wait_for(lambda: not group(run.pid), 60)
