"""Scoring: against museval's own entry point, and what it does where museval refuses."""

import gzip
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import musdb
import museval
import numpy as np
import pandas as pd
import pytest
import soundfile
import threadpoolctl

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation.aggregation import (
    METRICS,
    aggregate,
    is_scored,
    read_scores,
    write_scores,
)
from asteroid_upsamplers.evaluation.scoring import ScoringJob, score_song, score_songs

RATE = 8000
STEMS = ("vocals", "drums", "bass")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """BLAS threads that wait for each other on a busy machine double the time of these tests."""
    with threadpoolctl.threadpool_limits(1):
        yield


def noise(seed, seconds=2.0, channels=1):
    samples = np.random.default_rng(seed).standard_normal((round(seconds * RATE), channels))
    return (0.1 * samples).astype(np.float32).astype(float)  # as it is in the file


def song(stems=STEMS, **shape):
    """References and estimates: each stem with some noise and a little of the next stem."""
    references = {stem: noise(i, **shape) for i, stem in enumerate(stems)}
    neighbours = [references[stem] for stem in (*stems[1:], stems[0])]
    estimates = {
        stem: np.float32(references[stem] + 0.3 * neighbour + 0.2 * noise(10 + i, **shape)) * 1.0
        for i, (stem, neighbour) in enumerate(zip(stems, neighbours, strict=True))
    }
    return references, estimates


def write(folder, references, estimates, rate=RATE):
    """Both as wav files; gives the two folders."""
    folders = folder / "true", folder / "estimated"
    for path, stems in zip(folders, (references, estimates), strict=True):
        path.mkdir(parents=True, exist_ok=True)
        for stem, audio in stems.items():
            soundfile.write(path / f"{stem}.wav", audio, rate, subtype="FLOAT")
    return folders


def frames(store):
    """Scores in dB of each stem, shape (metric, frame)."""
    return {
        target["name"]: np.array(
            [[float(frame["metrics"][m]) for frame in target["frames"]] for m in METRICS]
        )
        for target in store.scores["targets"]
    }


def musevals(references, estimates, stems, win=RATE, hop=RATE):
    """What museval itself gives for some stems, as :func:`frames` does."""
    pairs = ([audio[stem] for stem in stems] for audio in (references, estimates))
    scores = np.array(museval.evaluate(*pairs, win=win, hop=hop)[:4])
    return dict(zip(stems, scores.swapaxes(0, 1), strict=True))


def test_same_json_as_museval_on_a_musdb_track(tmp_path):
    """On 16-bit references: musdb reads every wav file as 16-bit integers."""
    references, estimates = song(STEMS, seconds=2.5)
    references = {stem: np.round(audio * 2**15) / 2**15 for stem, audio in references.items()}
    references["bass"][RATE : 2 * RATE] = 0  # one silent window
    folder = tmp_path / "musdb" / "test" / "A - B"
    write(tmp_path, references, estimates)
    folder.parent.mkdir(parents=True)
    (tmp_path / "true").rename(folder)
    rest = 0 * references["bass"]  # musdb insists on four stems
    for name, audio in (("mixture", sum(references.values())), ("other", rest)):
        soundfile.write(folder / f"{name}.wav", audio, RATE)
    (tmp_path / "musdb" / "train").mkdir()
    (track,) = musdb.DB(root=tmp_path / "musdb", is_wav=True, subsets="test")
    expected = museval.eval_mus_track(track, estimates)
    store = score_song(folder, tmp_path / "estimated", STEMS)
    assert store.track_name == expected.track_name == "A - B"
    by_name = {target["name"]: target for target in expected.scores["targets"]}
    expected.scores["targets"] = [by_name[stem] for stem in STEMS]
    assert store.json == expected.json
    assert np.isfinite(frames(store)["vocals"]).tolist() == [[True, False]] * 4


def test_window_and_hop_in_seconds(tmp_path):
    references, estimates = song(STEMS[:2], channels=2, seconds=1.0)
    folders = write(tmp_path, references, estimates)
    store = score_song(*folders, STEMS[:2], win=0.5, hop=0.25)
    expected = musevals(references, estimates, STEMS[:2], RATE // 2, RATE // 4)
    for stem, values in frames(store).items():
        np.testing.assert_allclose(values, expected[stem], atol=1e-5)
    assert [frame["time"] for frame in store.scores["targets"][0]["frames"]] == [0, 0.25, 0.5]


SILENT = {  # which references and which estimates are silent: which stems have scores
    "reference": (("drums",), (), ("vocals", "bass")),
    "estimate": ((), ("vocals",), ("drums", "bass")),
    "two stems": (("drums",), ("vocals",), ()),
}


@pytest.mark.parametrize("case", SILENT)
def test_silent_stems_are_left_out(tmp_path, caplog, case):
    references_off, estimates_off, scored = SILENT[case]
    references, estimates = song(channels=2, seconds=1.0)
    for stem in references_off:
        references[stem] = 0 * references[stem]
    for stem in estimates_off:  # museval adds the channels up before it looks for silence
        estimates[stem][:, 1] = -estimates[stem][:, 0]
    with pytest.raises(ValueError, match="non-silent"):
        musevals(references, estimates, STEMS)
    with caplog.at_level(logging.WARNING):
        values = frames(score_song(*write(tmp_path, references, estimates), STEMS))
    assert list(values) == list(STEMS)
    expected = musevals(references, estimates, scored) if scored else {}
    for stem in STEMS:
        wanted = expected.get(stem, np.full((4, 1), np.nan))
        np.testing.assert_allclose(values[stem], wanted, atol=1e-5)
    (record,) = caplog.records
    assert all(stem in record.message for stem in {*references_off, *estimates_off})


@pytest.mark.parametrize("samples", [0, 1, RATE + 1])
def test_a_short_song_has_one_frame_of_musevals_own_number(tmp_path, samples):
    references, estimates = song(STEMS[:2], seconds=samples / RATE)
    values = frames(score_song(*write(tmp_path, references, estimates), STEMS[:2]))
    for stem in STEMS[:2]:
        wanted = musevals(references, estimates, STEMS[:2])[stem] if samples else np.nan
        wanted = np.minimum(wanted, 200)  # beyond, it is rounding noise: one sample is all filters
        np.testing.assert_allclose(
            np.minimum(values[stem], 200), wanted * np.ones((4, 1)), atol=1e-5
        )


def test_equal_channels_are_no_error_and_their_scores_are_marked(tmp_path):
    """A loud click in two equal channels makes museval's matrix singular to the last bit."""
    click = np.zeros((RATE, 1))
    click[0] = 16
    stems = dict.fromkeys(STEMS[:2], click)
    store = score_song(*write(tmp_path, stems, dict.fromkeys(stems, 0.5 * click)), STEMS[:2])
    # Half the amplitude: the error is half the reference, all of it a matter of filtering.
    for values in frames(store).values():
        np.testing.assert_allclose(values[:2], 20 * math.log10(2), atol=1e-3)
    assert store.scores["reliable"] is False
    write_scores(store, tmp_path / "song.json")
    assert read_scores(tmp_path / "song.json").groupby("metric")["reliable"].all().to_dict() == {
        metric: metric == "SDR" for metric in METRICS
    }
    assert aggregate(read_scores(tmp_path / "song.json"))["unreliable"].to_list() == [1, 1, 1]


def test_sdr_alone_and_museval_itself(tmp_path):
    folders = write(tmp_path, *song(seconds=1.0))
    by_museval, ours = (
        frames(score_song(*folders, STEMS, **how)) for how in ({"scorer": "museval"}, {})
    )
    path = tmp_path / "song.json"
    job = ScoringJob("song", *folders, STEMS, path)
    score_songs([job], metrics=["SDR"], progress=False)
    alone = json.loads(path.read_text())
    assert is_scored(path, STEMS, ["SDR"]) and not is_scored(path, STEMS)
    for target in alone["targets"]:
        stem = target["name"]
        np.testing.assert_allclose(ours[stem], by_museval[stem], atol=1e-5)
        found = target["frames"][0]["metrics"]
        assert found["SDR"] == ours[stem][0, 0]
        assert all(found[metric] is None for metric in METRICS[1:])


UNFIT = {  # of the estimate of the drums: samples, rate, words of the message
    "rate": (noise(0, 1.0), 44100, r"at 44100 Hz, but the first reference has .* at 8000 Hz"),
    "shorter": (noise(0, 0.9), RATE, r"\(7200, 1\) .* has \(8000, 1\)"),
    "missing": (None, RATE, r"missing; separate again \(stage 2\)"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_files_are_named_in_one_line(tmp_path, case):
    audio, rate, words = UNFIT[case]
    folders = write(tmp_path, *song(seconds=1.0))
    path = folders[1] / "drums.wav"
    path.unlink()
    if audio is not None:
        soundfile.write(path, audio, rate, subtype="DOUBLE")
    with pytest.raises(UsageError, match=words) as caught:
        score_song(*folders, STEMS)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_settings_are_refused(tmp_path):
    folders = write(tmp_path / "a", *song(seconds=0.1))
    for sources in ("vocals", ["vocals"], ["vocals", "vocals"]):
        with pytest.raises(UsageError, match="sources (is|are|must be) .*(list|different)"):
            score_song(*folders, sources)
    for settings, words in (
        ({"scorer": "mir_eval"}, "must be asteroid_upsamplers or museval"),
        ({"metrics": ["SAR"]}, "must be SDR or SDR, ISR, SIR, SAR"),
    ):
        with pytest.raises(UsageError, match=words):
            score_song(*folders, STEMS, **settings)
    for settings in ({"win": 0.0}, {"win": math.inf}, {"hop": -1.0}, {"win": math.nan}):
        with pytest.raises(UsageError, match="win and hop must be"):
            score_song(*folders, STEMS, **settings)
    job = ScoringJob("a", *folders, STEMS, tmp_path / "a.json")
    with pytest.raises(UsageError, match="same json_path"):
        score_songs([job, job])
    with pytest.raises(UsageError, match="workers is 0, must be at least 1"):
        score_songs([job], workers=0)


def test_score_songs(tmp_path):
    """One run over good, unfit, kept and damaged songs; then the same with ``force``."""
    stems, jobs = ("drums", "bass"), {}
    for i, name in enumerate(("plain", "zipped", "unfit", "kept", "damaged", "baseline", "lost")):
        folder = tmp_path / name
        folders = folder / "true", folder / "estimated"
        if name != "lost":
            write(folder, *song(stems, seconds=1.0 + 0.1 * i))
        if name == "baseline":  # one file that stands for every source
            folders = folders[0], folders[1] / "drums.wav"
        suffix = ".json.gz" if name == "zipped" else ".json"
        jobs[name] = ScoringJob(name, *folders, stems, tmp_path / "scores" / f"{name}{suffix}")
    soundfile.write(tmp_path / "unfit" / "estimated" / "bass.wav", noise(0, 9.0), RATE)
    good = [job for name, job in jobs.items() if name not in ("unfit", "lost")]
    expected = {job.name: score_song(job.references, job.estimates, stems) for job in good}
    jobs["kept"].json_path.parent.mkdir()
    kept = expected["plain"].json  # not its own, to see that it is kept
    jobs["kept"].json_path.write_text(kept)
    jobs["damaged"].json_path.write_text(expected["damaged"].json[:-30])

    with pytest.raises(UsageError) as caught:
        score_songs(list(jobs.values()), workers=2, progress=False)
    assert [part.split(":")[0] for part in str(caught.value).split("; ")] == ["unfit", "lost"]
    assert jobs["kept"].json_path.read_text() == kept
    assert len(list((tmp_path / "scores").iterdir())) == 5
    for job in good:
        if job.name != "kept":
            assert_same_scores(job.json_path, expected[job.name])
    with gzip.open(jobs["zipped"].json_path) as file:
        assert json.load(file)["museval_version"] == expected["zipped"].scores["museval_version"]

    before = os.stat(jobs["plain"].json_path).st_mtime_ns
    assert score_songs(good, progress=False) == [job.json_path for job in good]
    assert os.stat(jobs["plain"].json_path).st_mtime_ns == before
    assert jobs["kept"].json_path.read_text() == kept
    score_songs([jobs["kept"]], progress=False, force=True)
    assert_same_scores(jobs["kept"].json_path, expected["kept"])


def assert_same_scores(path, store):
    keys = ["metric", "target", "time"]
    got, expected = (
        df.set_index(keys)["score"].sort_index() for df in (read_scores(path), store.df)
    )
    pd.testing.assert_series_equal(got, expected, atol=1e-4, check_index_type=False)


def group(leader):
    """Living processes of a process group."""
    members = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == leader and state != "Z":
            members.add(int(entry.parent.name))
    return members


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_workers_end_with_their_parent_and_nothing_is_half_written(tmp_path, by):
    """Ctrl-C reaches all of them, and they leave it to the parent; a killed one cannot end them."""
    folders = write(tmp_path / "long", *song(seconds=300, channels=2))
    script = f"""
from pathlib import Path
from asteroid_upsamplers.errors import one_line_errors
from asteroid_upsamplers.evaluation.scoring import ScoringJob, score_songs
if __name__ == "__main__":
    true, estimated = (Path(folder) for folder in {[str(folder) for folder in folders]!r})
    jobs = [ScoringJob(str(i), true, estimated, {STEMS!r}, Path(f"{{i}}.json")) for i in range(3)]
    with one_line_errors():
        score_songs(jobs, workers=2, progress=False)
"""
    (tmp_path / "script.py").write_text(script)
    run = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # This process, multiprocessing's resource tracker and two workers.
        assert wait_for(lambda: len(group(run.pid)) >= 4)
        (os.killpg if by == signal.SIGINT else os.kill)(run.pid, by)
        run.wait(60)
        assert wait_for(lambda: not group(run.pid))
        if by == signal.SIGINT:
            assert run.returncode == 130
            assert run.stderr.read() == "interrupted: run the same command again to go on\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["long", "script.py"]
    finally:
        for member in group(run.pid):
            os.kill(member, signal.SIGKILL)
        run.communicate()
