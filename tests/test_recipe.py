"""``run.sh``: all stages on small songs, the commands that it composes, what it refuses."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import write_song
from tests.data.test_prepare import write_stems

RECIPE = Path(__file__).parents[1] / "recipes" / "musdb18" / "DemucsUpsamplers"
TINY = "--channels 2 --depth 3 --segment 0.4 --segment_stride 0.3 --shift 0.1 --batch_size 4 "
TINY += "--num_workers 0 --epochs 1"


def run(*options, more="", python=sys.executable):
    words = ["bash", RECIPE / "run.sh", "--python", python, *options, "--", *more.split()]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A set as MUSDB18-HQ would be, with names that need quoting."""
    root = tmp_path_factory.mktemp("my songs")
    for index, name in enumerate(("train/a", "train/b", "test/Größe & 'Co' - $HOME")):
        write_song(root / name, seconds=1.5, rate=44100, seed=index)
    return root


def test_all_stages(songs, tmp_path):
    where = ("--exp_root", tmp_path / "exp", "--data_root", tmp_path / "data", "--tag", "t")
    options = ("--musdb18_dir", songs, "--upsampler", "nearest", "--shifts", 1, "--workers", 1)
    result = run(*options, *where, more=TINY)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr and "deprecated" not in result.stderr
    table = pd.read_csv(tmp_path / "exp" / "t" / "report.csv", index_col=0)
    assert list(table.index) == ["mixture", "nearest"]
    assert table.loc["nearest", "songs_total"] == 1
    assert table.loc["nearest", "upsampler"] == "nearest"
    assert table["SDR_drums"].notna().all()
    assert "silence_db" in table
    for ending in ("md", "png", "html"):
        assert (tmp_path / "exp" / "t" / f"report.{ending}").stat().st_size > 500


@pytest.mark.slow
def test_another_system_and_its_upsampler(songs, tmp_path):
    """Wave-U-Net at its own 22.05 kHz, with learned interpolation: songs are resampled for it."""
    where = ("--exp_root", tmp_path / "exp", "--data_root", tmp_path / "data", "--tag", "t")
    options = ("--musdb18_dir", songs, "--size", "small", "--model", "WaveUNet")
    for _ in range(2):
        result = run(*options, "--upsampler", "learned", *where, more=TINY)
        assert result.returncode == 0, result.stderr
        table = pd.read_csv(tmp_path / "exp" / "t" / "report.csv", index_col=0)
        assert list(table.index) == ["mixture", "WaveUNet_learned"]
        assert table.loc["WaveUNet_learned", "real_time_factor"] > 0
    assert "trained already" in result.stderr
    assert [p.name for p in (tmp_path / "data" / "wav").iterdir()] == [f"{songs.name}_22050"]


def test_stems_are_converted_by_stage_0(tmp_path):
    for subset in ("train", "test"):
        write_stems(tmp_path / "musdb18" / subset / "A - B.stem.mp4")
    (tmp_path / "musdb18" / "test" / "damaged.stem.mp4").write_text("no audio")
    options = ("--musdb18_dir", tmp_path / "musdb18", "--stop_stage", 0, "--data_root", tmp_path)
    result = run(*options)
    assert result.returncode == 2
    assert "damaged.stem.mp4" in result.stderr.splitlines()[-1]
    assert len(list((tmp_path / "wav").rglob("*.wav"))) == 10


@pytest.fixture
def said(tmp_path):
    """What ``run.sh`` would run: it gets a Python that only notes its arguments."""
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/said"\n')
    fake.chmod(0o755)

    def call(*options):
        (tmp_path / "said").write_text("")
        where = ("--exp_root", "/exp", "--data_root", "/data")
        result = run(*options, *where, more="--epochs 3", python=fake)
        assert result.returncode == 0, result.stderr
        first, *lines = (tmp_path / "said").read_text().splitlines()
        assert first == "-c import asteroid_upsamplers"
        return lines

    return call


def test_stages_run_in_order_with_their_options(said):
    songs = "--musdb18_dir /songs --wav_dir /data/wav/songs"
    exp = "/exp/t/nearest"
    options = ("--musdb18_dir", "/songs/", "--tag", "t", "--upsampler", "nearest")
    assert said(*options, "--shifts", 10, "--chunk", 5, "--workers", 3) == [
        f"local/prepare_data.py {songs}",
        f"train.py --exp_dir {exp} --variant local/variants/nearest.yml {songs} "
        "--skip_bad_songs false --epochs 3",
        f"eval.py separate {songs} --shifts 10 --chunk 5 {exp}",
        f"eval.py score {songs} --workers 3 {exp}",
        f"eval.py artifacts {songs} --workers 3 {exp}",
        f"-m asteroid_upsamplers.cli report {exp} --out /exp/t/report --title "
        "Demucs-like models (full) on songs",
    ]


def test_folders_may_have_any_name(said, tmp_path, monkeypatch):
    """Also where the shell searches other folders for relative ones."""
    monkeypatch.setenv("CDPATH", "/")
    songs = tmp_path / "-a  b\nc"
    words = said("--musdb18_dir", songs, "--tag", "t", "--stage", 2, "--stop_stage", 2)
    name = str(songs).splitlines()
    assert words == [
        f"eval.py separate --musdb18_dir {name[0]}",
        f"c --wav_dir /data/wav/{songs.name.splitlines()[0]}",
        "c /exp/t/transposed",
    ]


def test_the_stems_of_a_set_are_told_to_who_reads_them(said):
    words = said("--musdb18_dir", "/songs", "--sources", "vocals,rest", "--stop_stage", 1)
    assert [line.split("--wav_dir /data/wav/songs ")[1] for line in words] == [
        "--sources vocals,rest",
        "--skip_bad_songs false --sources [vocals,rest] --epochs 3",
    ]


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ("--variant all", ["transposed", "nearest", "linear", "subpixel"]),
        ("--upsampler sinc --modified true", ["sinc_modified --upsampler sinc --modified true"]),
        ("--model Demucs", ["demucs variants/demucs"]),
        ("--demo", ["transposed variants/transposed sizes/demo models/DemucsLike/demo"]),
        (
            "--model WaveUNet --upsampler learned --size demo",
            ["WaveUNet_learned models/WaveUNet/full sizes/demo models/WaveUNet/small --upsampler"],
        ),
        ("--model all --size small", ["transposed", "demucs", "WaveUNet", "OpenUnmix"]),
    ],
)
def test_rows_and_their_files(said, options, rows):
    """The first rows: the folder's name, and files and options in this order."""
    lines = said(*options.split(), "--stage", 1, "--stop_stage", 1)
    assert len(lines) >= len(rows)
    for line, row in zip(lines, rows, strict=False):
        name, *wanted = row.split()
        words = [w.removeprefix("local/").removesuffix(".yml") for w in line.split()]
        assert words[words.index("--exp_dir") + 1].endswith(f"/{name}")
        positions = [words.index(word) for word in wanted]
        assert positions == sorted(positions)


def test_torchrun_starts_the_training_of_one_machine_or_several(said):
    for options, first in (("--nproc_per_node 2", "--standalone "), ("--nnodes 2", "")):
        (line,) = said("--torchrun", options, "--stage", 1, "--stop_stage", 1)
        start = f"-m torch.distributed.run {first}{options} train.py"
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--upsampeler nearest", "unknown option --upsampeler"),
        ("nearest", "unexpected word 'nearest'"),
        ("--stage 7", "--stage and --stop_stage must be 0 to 5"),
        ("--stop_stage -1", "--stage and --stop_stage must be 0 to 5"),
        ("--id cuda", "--id is 'cuda': must be numbers of GPUs"),
        ("--variant all --upsampler nearest", "--variant excludes --upsampler and --modified"),
        ("--variant all --modified true", "--variant excludes --upsampler and --modified"),
        ("--torchrun x --num_nodes 2", "--torchrun and --num_nodes exclude each other"),
        ("--python /nope", "--python /nope: cannot run Python with asteroid_upsamplers"),
        ("--stage 3 --stop_stage 1", "in order"),
        ("--stage", "--stage needs a value"),
        ("--modified maybe", "must be true or false"),
        ("--num_nodes 0", "must be at least 1"),
        ("--variant nearst", "unknown variant 'nearst'. Known: all demucs linear nearest"),
        ("--variant ../sizes/small", "unknown variant '../sizes/small'"),
        ("--size tiny", "unknown size 'tiny'. Known: full demo small"),
        ("--model WaveUnet", "unknown model 'WaveUnet'. Known: all Demucs CrossNetOpenUnmix"),
        ("--model OpenUnmix --modified true", "--modified are DemucsLike's"),
        ("--model all --upsampler nearest", "--upsampler is for one model"),
        ("--tag ../x", "--tag is '../x': must be"),
        ("--upsampler ../x", "--upsampler is '../x': must be"),
        ("--demo --musdb18_dir x", "exclude each other"),
    ],
)
def test_wrong_options_are_refused_at_once(options, words):
    result = subprocess.run(
        ["bash", str(RECIPE / "run.sh"), *options.split()], capture_output=True, text=True
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert words in line


def test_a_stage_that_cannot_be_announced_is_not_left_out():
    """As where the log is on a full disk; the Python here is one that always succeeds."""
    with open("/dev/full", "w") as full:
        words = ["bash", str(RECIPE / "run.sh"), "--demo", "--python", "true"]
        assert subprocess.run(words, stderr=full).returncode == 1
