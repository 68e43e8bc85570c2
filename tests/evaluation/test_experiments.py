"""From a trained model to scores: what is made, what is kept, what is made again."""

import json
import os
import shutil

import pytest
import soundfile
import torch

from asteroid_upsamplers import evaluation
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation.experiments import ESTIMATES, EVALUATION, SCORES
from asteroid_upsamplers.evaluation.outdated import outdated_scores
from asteroid_upsamplers.models import DemucsLike, UpsamplerConvTasNet
from asteroid_upsamplers.separation import Chunking
from tests.conftest import RATE, write_song

CHUNKING, SOURCES = Chunking(0.7), ("drums", "vocals")


@pytest.fixture
def songs(tmp_path):
    """Where the songs lie."""
    root = tmp_path / "set"
    write_song(root / "train" / "train", seconds=0.5)
    for index in range(2):
        write_song(root / "test" / f"test {index}", seconds=1.0, seed=index)
    return root, tmp_path / "wav"


@pytest.fixture
def experiment(tmp_path):
    """A folder that looks trained."""
    exp_dir = tmp_path / "exp" / "nearest"
    exp_dir.mkdir(parents=True)
    torch.manual_seed(0)
    model = DemucsLike(SOURCES, channels=2, depth=3, sample_rate=RATE, normalize=True)
    torch.save(model.serialize(), exp_dir / "best_model.pth")
    return exp_dir


def exchange(path):
    """Another content of the same size, with the same times."""
    content, times = bytearray(path.read_bytes()), path.stat()
    if path.suffix == ".pth":
        model = DemucsLike(SOURCES, channels=2, depth=3, sample_rate=RATE, normalize=True)
        torch.save(model.serialize(), path)
    else:
        content[-8:] = bytes(range(8))
        path.write_bytes(content)
    assert path.stat().st_size == times.st_size
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def ages(folder, suffix):
    return {path: path.stat().st_mtime_ns for path in folder.rglob(f"*{suffix}")}


def test_from_a_model_to_scores_and_the_mixture_as_baseline(experiment, songs):
    for _ in range(2):  # the second run does nothing
        evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
        evaluation.score_experiments([experiment], *songs, workers=1, progress=False)
        before = ages(experiment.parent, "")
    assert ages(experiment.parent, "") == before
    names = [f"{source}.wav" for source in sorted(SOURCES)]
    assert sorted(p.name for p in (experiment / ESTIMATES / "test 0").iterdir()) == names
    note = json.loads((experiment / EVALUATION).read_text())
    assert note["audio_seconds"] == 2
    assert note["real_time_factor"] == pytest.approx(note["seconds"] / 2)
    baseline = experiment.parent / evaluation.BASELINE
    for folder in (experiment, baseline):
        names = sorted(p.name for p in (folder / SCORES).iterdir())
        assert names == ["test 0.json", "test 1.json"]
    # Four equal noises: each is 1/4 of the power, so the mixture's SDR is near -10 log10(3).
    table = evaluation.aggregate(evaluation.load_scores(baseline / "scores"))
    assert table["SDR"].to_list() == pytest.approx([-4.77] * 3, abs=0.7)


def test_estimates_are_made_again_where_something_differs(experiment, songs):
    def separate(chunking=CHUNKING):
        evaluation.separate_experiments([experiment], *songs, chunking, progress=False)
        return ages(experiment, ".wav")

    first = separate()
    assert separate(Chunking(0.7, batch=2)) == first  # gives the same
    for chunking in (Chunking(0.9), Chunking(0.7, overlap=0.1), Chunking(0.7, shifts=1), CHUNKING):
        again = separate(chunking)
        assert again.keys() == first.keys()
        assert not first.items() & again.items()
        first = again
    exchange(songs[0] / "test" / "test 0" / "mixture.wav")
    again = separate()
    assert {path.parent.name for path in first if first[path] != again[path]} == {"test 0"}
    for path in (songs[0] / "test" / "test 0" / "mixture.wav", experiment / "best_model.pth"):
        os.utime(path, (4e9, 4e9))  # another time, the same content
    moved = songs[0].rename(songs[0].with_name("moved"))
    evaluation.separate_experiments([experiment], moved, songs[1], CHUNKING, progress=False)
    assert ages(experiment, ".wav") == again
    moved.rename(songs[0])
    exchange(experiment / "best_model.pth")
    assert not again.items() & separate().items()


def test_scores_of_older_estimates_are_made_again(experiment, songs, monkeypatch):
    scored = []
    monkeypatch.setattr(
        evaluation.experiments, "score_songs", lambda jobs, *rest, **more: scored.append(jobs)
    )
    evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
    evaluation.score_experiments([experiment], *songs)
    (experiment / SCORES).mkdir(parents=True)
    for name in ("test 0", "test 1", "a song of another set"):
        (experiment / SCORES / f"{name}.json").write_text("{}")
    exchange(experiment / ESTIMATES / "test 0" / "drums.wav")
    evaluation.score_experiments([experiment], *songs)
    assert [p.name for p in (experiment / SCORES).iterdir()] == ["test 1.json"]
    assert [job.name for job in scored[1]] == [
        f"{folder}: test {i}" for folder in ("nearest", "mixture") for i in (0, 1)
    ]


def test_a_folder_without_a_usable_model_is_named(experiment, songs, tmp_path):
    with pytest.raises(UsageError, match="nothing: no experiment here"):
        evaluation.separate_experiments([tmp_path / "nothing"], *songs)
    (experiment / "best_model.pth").write_text("no model")
    with pytest.raises(UsageError, match=r"best_model\.pth: not a model file"):
        evaluation.separate_experiments([experiment], *songs)
    nameless = UpsamplerConvTasNet(2, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=4, skip_chan=4)
    torch.save(nameless.serialize(), experiment / "best_model.pth")
    with pytest.raises(UsageError, match="a UpsamplerConvTasNet, must be a MusicSeparator"):
        evaluation.separate_experiments([experiment], *songs)


def test_another_set_with_songs_of_the_same_names_is_separated_and_scored(
    experiment, songs, tmp_path
):
    other = tmp_path / "other"
    write_song(other / "train" / "train", seconds=0.5)
    write_song(other / "test" / "test 0", seconds=2.0, seed=9)
    for path in other.rglob("*.wav"):
        os.utime(path, (1, 1))  # older than all that is made of them
    baseline = experiment.parent / evaluation.BASELINE / SCORES / "test 0.json"
    frames = []
    for root in (songs[0], other):
        evaluation.separate_experiments([experiment], root, songs[1], CHUNKING, progress=False)
        evaluation.score_experiments([experiment], root, songs[1], workers=1, progress=False)
        for path in (experiment / SCORES / "test 0.json", baseline):
            frames.append(len(json.loads(path.read_text())["targets"][0]["frames"]))
    assert frames == [1, 1, 2, 2]
    assert not (experiment / SCORES / "test 1.json").exists()


def test_scores_follow_a_reference_that_was_exchanged(experiment, songs):
    evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
    evaluation.score_experiments([experiment], *songs, workers=1, progress=False)
    path = experiment / SCORES / "test 0.json"
    before = path.read_text()
    samples, rate = soundfile.read(songs[0] / "test" / "test 0" / "drums.wav")
    soundfile.write(songs[0] / "test" / "test 0" / "drums.wav", samples[::-1], rate)
    evaluation.score_experiments([experiment], *songs, workers=1, progress=False)
    assert path.read_text() != before


def test_estimates_of_another_mixture_or_model_are_not_scored(experiment, songs, monkeypatch):
    monkeypatch.setattr(evaluation.experiments, "score_songs", lambda *_, **__: None)
    evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
    exchange(songs[0] / "test" / "test 0" / "mixture.wav")
    with pytest.raises(UsageError, match=r"estimates of test 0 were made of another mixture"):
        evaluation.score_experiments([experiment], *songs)
    evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
    exchange(experiment / "best_model.pth")
    with pytest.raises(UsageError, match=r"made with another best_model\.pth"):
        evaluation.score_experiments([experiment], *songs)


def test_estimates_that_are_cut_or_missing_are_made_again(experiment, songs):
    evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
    first, second = (experiment / ESTIMATES / f"test {index}" / "drums.wav" for index in (0, 1))
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    second.unlink()
    evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
    assert first.read_bytes() == whole
    assert second.exists()


def test_scores_that_are_older_than_what_they_are_of_are_named(experiment, songs, monkeypatch):
    """Whatever was exchanged since; not what was moved, or deleted to save disk."""

    def score(jobs, **how):
        for job in jobs:
            job.json_path.parent.mkdir(parents=True, exist_ok=True)
            job.json_path.write_text("{}")

    monkeypatch.setattr(evaluation.experiments, "score_songs", score)

    def stages(*numbers):
        if 2 in numbers:
            evaluation.separate_experiments([experiment], *songs, CHUNKING, progress=False)
        if 3 in numbers:
            evaluation.score_experiments([experiment], *songs, progress=False)

    def said():
        folders = (experiment, experiment.parent / evaluation.BASELINE)
        return [line.partition(": ")[2] for folder in folders for line in outdated_scores(folder)]

    stages(2, 3)
    assert said() == []
    root = experiment.parent.rename(experiment.parent.with_name("moved"))
    assert outdated_scores(root / experiment.name) == []
    root.rename(experiment.parent)
    exchange(experiment / ESTIMATES / "test 0" / "drums.wav")
    assert said() == ["scores of test 0 are older than its estimates: run stage 3"]
    stages(3)
    exchange(songs[0] / "test" / "test 1" / "mixture.wav")
    ends = ("its files in the set: run stages 2 and 3", "its estimates: run stage 3")
    assert said() == [f"scores of test 1 are older than {end}" for end in ends]
    stages(2, 3)
    (songs[0] / "test" / "test 1").rename(songs[0] / "test" / "test 2")
    assert said()[0].startswith("scores of test 1 are older than the set, which lacks it")
    stages(2)
    assert said()[1] == "estimates of test 2 are not scored: run stage 3"
    stages(3)
    moved = songs[0].rename(songs[0].with_name("moved"))
    assert said() == []
    evaluation.separate_experiments([experiment], moved, songs[1], CHUNKING, progress=False)
    (moved / "test" / "test 0").rename(moved / "test" / "test 9")
    assert said()[0].startswith("scores of test 0 are older than the set, which lacks it")
    (moved / "test" / "test 9").rename(moved / "test" / "test 0")
    moved.rename(songs[0])
    exchange(experiment / "best_model.pth")
    assert said()[0] == "estimates are of another best_model.pth: run stages 2 and 3"
    stages(2, 3)
    shutil.rmtree(experiment / "estimates" / "test")
    monkeypatch.setattr(evaluation.experiments, "score_songs", lambda *_, **__: None)
    stages(3)
    assert len(list((experiment / SCORES).iterdir())) == 2
    shutil.rmtree(songs[0])
    assert said() == []
