"""Whole songs are separated alike by both sides, and memory is measured, at tiny sizes."""

import sys

import pytest
import torch

from tests.benchmarks.test_training_and_loader import scripts  # noqa: F401  (a fixture)

CPU = torch.device("cpu")


@pytest.fixture
def rows(scripts, monkeypatch):  # noqa: F811
    separation = scripts("separation")

    def memory(device, folder, seconds, chunk, depth, channels):
        size = {"kind": "memory", "channels": channels, "depth": depth, "seconds": seconds}
        figures = {"peak_gb": 1.23 + (seconds > 3000), "taken_s": 1.0, "written_gb": 0.1}
        return {**size, "chunk": chunk, **figures, "real_time_factor": 1 / seconds}

    monkeypatch.setattr(separation, "memory", memory)
    sizes = {"channels": 2, "depth": 3, "seconds": 3.5, "chunk": 1.0}
    return separation.run(CPU, batches=[1, 2], rounds=1, long_seconds=7200, **sizes)


def test_ours_and_the_packages_estimates_are_the_same(rows):
    """To what is around a chunk, where it is faded out."""
    paces = [row for row in rows if row["kind"] == "pace"]
    assert [(row["package"], row["batch"], row["shifts"]) for row in paces] == [
        (package, batch, shifts)
        for shifts in (0, 1)
        for package, batch in ((False, 1), (False, 2), (True, 1))
    ]
    assert all(row["difference"] < 1e-3 for row in paces[:3])
    assert not any("difference" in row for row in paces[3:])
    for row in paces:
        taken = row["separation_ms"]["median"] / 1e3
        assert row["real_time_factor"] == pytest.approx(taken / 3.5, rel=1e-3) and taken > 0


def test_the_report_compares_the_fastest(scripts, rows):  # noqa: F811
    shown = scripts("report.separation")
    short = list(shown.in_short(rows))
    for line, shifts in zip(short[:2], (0, 1), strict=True):
        least = [
            min(
                r["separation_ms"]["median"] for r in rows[:6] if (r["package"], r["shifts"]) == key
            )
            for key in ((False, shifts), (True, shifts))
        ]
        assert line[1] == "<= 1" and float(line[2]) == pytest.approx(least[0] / least[1], abs=6e-4)
    assert [line[2] for line in short[2:]] == ["2.23", "1.23"]
    assert "2 h" in short[2][0] and "720 s" in short[3][0]
    text = "\n".join(shown.tables({"rows": rows}))
    assert text.count("ours, batch") == 4 and text.count("demucs.apply") == 2
    assert "| 2 h, 4 channels | 2.23 | 0.10 | 0.0001 | 7200.0 |" in text


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for its memory")
def test_memory_does_not_grow_with_the_file(scripts, tmp_path):  # noqa: F811
    """By less than the input, an eighth of what is written; and it is that of its process alone."""
    held = torch.ones(10**9 // 4)  # of another process
    rows = [
        scripts("separation").memory(CPU, tmp_path, seconds, chunk=5.0, depth=3, channels=2)
        for seconds in (60, 480)
    ]
    more = rows[1]["written_gb"] - rows[0]["written_gb"]
    assert more == pytest.approx(420 * 44100 * 2 * 4 * 4 / 1e9, rel=0.01)
    assert rows[1]["peak_gb"] - rows[0]["peak_gb"] < more / 8
    assert 0.1 < rows[1]["peak_gb"] < held.nbytes / 1e9
    assert not list(tmp_path.iterdir())
