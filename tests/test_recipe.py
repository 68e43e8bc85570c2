"""``run.sh`` itself: all stages on small songs, what it refuses, what it does after Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from asteroid_upsamplers.data import render_demo_set
from tests.data.test_prepare import write_stems

RECIPE = Path(__file__).parents[1] / "recipes" / "musdb18" / "DemucsUpsamplers"
TINY = "-- --channels 2 --depth 3 --segment 0.4 --segment_stride 0.3 --shift 0.1 --batch_size 4"


def command(*options, more=TINY, epochs=1):
    words = ["bash", str(RECIPE / "run.sh"), "--python", sys.executable, *map(str, options)]
    return [*words, *more.split(), "--num_workers", "0", "--epochs", str(epochs)]


def run(*options, **more):
    return subprocess.run(command(*options, **more), capture_output=True, text=True)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Demo songs as MUSDB18-HQ would be, with a name that needs quoting."""
    root = tmp_path_factory.mktemp("my songs")
    render_demo_set(root, n_train=2, n_test=2, seconds=2.0, progress=False)
    (root / "test" / "Demo - 001").rename(root / "test" / "Größe & 'Co' - $HOME")
    return root


@pytest.mark.slow
def test_all_stages(songs, tmp_path):
    where = ("--exp_root", tmp_path / "exp", "--data_root", tmp_path / "data", "--tag", "t")
    result = run("--musdb18_dir", songs, "--upsampler", "nearest", *where)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "exp" / "t" / "report.csv", index_col="system")
    assert list(table.index) == ["mixture", "nearest"]
    assert table.loc["nearest", "songs_total"] == 2
    assert table.loc["nearest", "upsampler"] == "nearest"
    assert table["SDR_drums"].notna().all()
    assert "silence_db" in table
    for ending in ("md", "png", "html"):
        assert (tmp_path / "exp" / "t" / f"report.{ending}").stat().st_size > 500

    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.suffix in (".wav", ".pth")}
    again = run("--musdb18_dir", songs, "--upsampler", "nearest", *where)
    assert again.returncode == 0, again.stderr
    assert "trained already" in again.stderr
    assert files == {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_another_system_and_its_upsampler(songs, tmp_path):
    """Wave-U-Net at its own 22.05 kHz, with learned interpolation, beside Open-Unmix."""
    where = ("--exp_root", tmp_path / "exp", "--data_root", tmp_path / "data", "--tag", "t")
    small = "-- --segment 0.4 --segment_stride 0.3 --shift 0.1 --batch_size 4"
    rows = {
        "WaveUNet_learned": (["WaveUNet", "--upsampler", "learned"], " --channels 2 --depth 3"),
        "OpenUnmix": (["OpenUnmix"], " --hidden_size 8"),
    }
    for name, (words, sizes) in rows.items():
        options = ("--musdb18_dir", songs, "--size", "small", "--model", *words)
        result = run(*options, *where, more=small + sizes)
        assert result.returncode == 0, result.stderr
        table = pd.read_csv(tmp_path / "exp" / "t" / "report.csv", index_col="system")
        assert list(table.index) == ["mixture", name]
        assert table.loc[name, "songs"] == 2
        assert table.loc[name, "real_time_factor"] > 0
    folders = {p.name.removeprefix(songs.name) for p in (tmp_path / "data" / "wav").iterdir()}
    assert folders == {"_22050"}


@pytest.mark.slow
def test_ctrl_c_and_again_gives_what_an_unbroken_run_gives(songs, tmp_path):
    def options(name):
        stages = ("--stage", 1, "--stop_stage", 1, "--tag", name)
        return ("--musdb18_dir", songs, *stages, "--exp_root", tmp_path, "--data_root", tmp_path)

    assert run(*options("whole"), epochs=12).returncode == 0
    process = subprocess.Popen(
        command(*options("broken"), epochs=12),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    last = tmp_path / "broken" / "transposed" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    finished = tmp_path / "broken" / "transposed" / "best_model.pth"
    assert process.returncode == 130, errors
    assert "run the same command again to go on" in errors
    assert "Traceback" not in errors
    assert not finished.exists()
    assert run(*options("broken"), epochs=12).returncode == 0
    import torch

    models = [tmp_path / tag / "transposed" / "best_model.pth" for tag in ("whole", "broken")]
    states = [torch.load(path, weights_only=True)["state_dict"] for path in models]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_dry_run_trains_nothing(songs, tmp_path):
    options = ("--musdb18_dir", songs, "--exp_root", tmp_path / "exp", "--data_root", tmp_path)
    result = run(*options, "--dry_run", "--variant", "all", "--size", "small")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("model: DemucsLike") == 6
    assert result.stdout.count("steps: ") == 6
    assert not (tmp_path / "exp").exists()


def test_stems_are_converted_by_stage_0(tmp_path):
    for subset in ("train", "test"):
        write_stems(tmp_path / "musdb18" / subset / "A - B.stem.mp4")
    (tmp_path / "musdb18" / "test" / "damaged.stem.mp4").write_text("no audio")
    options = ("--musdb18_dir", tmp_path / "musdb18", "--stop_stage", 0, "--data_root", tmp_path)
    result = run(*options)
    assert result.returncode == 2
    assert "damaged.stem.mp4: not a stem file" in result.stderr.splitlines()[-1]
    assert len(list((tmp_path / "wav").rglob("*.wav"))) == 10
    (tmp_path / "musdb18" / "test" / "damaged.stem.mp4").unlink()
    assert run(*options).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--upsampeler", "nearest"], "unknown option --upsampeler"),
        (["--stage", "7"], "stages are 0 to 5"),
        (["--stage"], "--stage needs a value"),
        (["--modified", "maybe"], "allowed is true or false"),
        (["--variant", "nearst"], "unknown variant 'nearst'. Known: all demucs linear nearest"),
        (["--size", "tiny"], "unknown size 'tiny'. Known: full demo small"),
        (["--model", "WaveUnet"], "unknown model 'WaveUnet'. Known: all Demucs CrossNetOpenUnmix"),
        (["--model", "../x"], "unknown model '../x'"),
        (["--model", "OpenUnmix", "--modified", "true"], "--modified are DemucsLike's"),
        (
            ["--model", "WaveUNet", "--variant", "nearest"],
            "--variant and --modified are DemucsLike",
        ),
        (["--model", "all", "--upsampler", "nearest"], "--upsampler is for one model"),
        (["--tag", "../x"], "--tag is '../x', allowed are"),
        (["--upsampler", "../x"], "--upsampler is '../x', allowed are"),
        (["--demo", "--musdb18_dir", "x"], "exclude each other"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_at_once(options, words):
    result = run(*options)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stage", 0], "no MUSDB18 here"),
        (["--stage", 1, "--upsampler", "neerest"], "did you mean nearest"),
        (["--stage", 1, "--model", "SamsNet", "--upsampler", "neerest"], "did you mean nearest"),
        (["--stage", 1, "--model", "OpenUnmix", "--upsampler", "nearest"], "unknown option --ups"),
    ],
    ids=str,
)
def test_what_python_refuses_is_one_line_too(tmp_path, options, words):
    result = run(*options, "--musdb18_dir", tmp_path, "--exp_root", tmp_path, more="--")
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
