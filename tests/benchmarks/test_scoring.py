"""Songs are scored one after the other and in parallel, at a tiny size."""

import pytest
import soundfile
import torch

from tests.benchmarks.test_training_and_loader import scripts  # noqa: F401  (a fixture)

ROW = {"songs": 3, "seconds": [1.0, 2.0, 3.0], "cores": 2, "start_s": 1.0}


def test_both_totals_are_of_the_same_songs(scripts, monkeypatch):  # noqa: F811
    """And the start is that of a worker for each core, as far as there are songs."""
    scoring, seen = scripts("scoring"), []

    def taken_by(folder, workers):
        songs = sorted(folder.iterdir())
        for song in songs:
            audio = {path: soundfile.read(path)[0] for path in song.rglob("*.wav")}
            assert len(audio) == 8
            assert all(samples.any() == (folder.name == "songs") for samples in audio.values())
        seen.append(
            (folder.name, [len(audio[path]) / 44100 for path in audio], len(songs), workers)
        )
        return float(len(seen))

    monkeypatch.setattr(scoring, "taken_by", taken_by)
    monkeypatch.setattr(scoring, "cores", lambda: 2)
    (row,) = scoring.run(torch.device("cpu"), 3, least_seconds=0.1, most_seconds=0.2, rounds=2)
    both = [("songs", [0.2] * 8, 3, 0), ("songs", [0.2] * 8, 3, 2)]
    assert seen == [("silence", [1.0] * 8, 2, 2), *both, *both]
    assert row == {
        "songs": 3,
        "seconds": [0.1, 0.15, 0.2],
        "cores": 2,
        "start_s": 1.0,
        "serial_s": [2.0, 4.0],
        "parallel_s": [3.0, 5.0],
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_songs_are_scored_in_a_process_of_its_own(scripts, tmp_path, workers):  # noqa: F811
    scoring = scripts("scoring")
    scoring.write_songs(tmp_path / "songs", [0.05, 0.1], loudest=0)
    assert scoring.taken_by(tmp_path / "songs", workers) > 0
    written = [path.parent.name for path in tmp_path.rglob("scores.json")]
    assert sorted(written) == (["000", "001"] if workers else [])


def test_the_report_states_the_even_share(scripts):  # noqa: F811
    shown = scripts("report.scoring")
    row = {**ROW, "serial_s": [10.0, 30.0, 20.0], "parallel_s": [11.0, 12.0, 13.0]}
    ((what, asked, found),) = shown.in_short([row])
    assert "3 songs of 1 to 3 s" in what and "2 cores" in what
    assert (asked, found) == ("<= 1.20", "1.20")
    (text,) = shown.tables({"rows": [row]})
    assert "| 3 songs of 1 to 3 s | 2 | 20.0 | 12.0 | 1.0 | 1.20 | 0.5 |" in text
