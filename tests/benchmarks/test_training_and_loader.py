"""Training steps and loaders are measured, and counted right, at sizes that are soon done."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = {"channels": 2, "seconds": 0.05, "rounds": 1}


@pytest.fixture
def scripts(monkeypatch):
    """Imports one of the scripts, as Python finds them beside ``run.py``.

    What they set for the whole process, and their names, are put back.
    """
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    torch.set_flush_denormal(False)
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def written_out(upsampler, channels, depth, time, context):
    """Multiply-adds of the network, block by block, as [3] describes it."""
    lengths = [time]
    for _ in range(depth):
        lengths.append((lengths[-1] - 8) // 4 + 1)
    total, high = 0, lengths[-1]
    for level in range(depth):
        wide, outer = channels * 2**level, channels * 2 ** (level - 1)
        into = outer if level else 2
        total += lengths[level + 1] * (8 * into * wide + (2 * context + 1) * wide * 2 * wide)
    total += high * (2 * 4 * wide * (wide + wide) + 2 * 4 * wide * (2 * wide + wide))
    total += high * 2 * wide * wide
    for level in reversed(range(depth)):
        wide, outer = channels * 2**level, channels * 2 ** (level - 1) if level else 8
        total += high * 3 * wide * 2 * wide
        if upsampler == "transposed":
            total, high = total + high * 8 * wide * outer, (high - 1) * 4 + 8
        else:
            total, high = total + 4 * high * 9 * wide * outer, 4 * high
    return total


@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("upsampler", ["transposed", "nearest"])
def test_multiply_adds_are_those_of_the_network_written_out(scripts, upsampler, context):
    operations = scripts("operations")
    models = importlib.import_module("asteroid_upsamplers.models")
    model = models.DemucsLike(upsampler=upsampler, channels=4, depth=3)
    found = operations.forward_macs(upsampler, 4, 3, 2000, context)
    assert found == written_out(upsampler, 4, 3, model.valid_length(2000), context)


@pytest.fixture
def steps(scripts):
    return scripts("training").run(
        torch.device("cpu"),
        **TINY,
        batch=2,
        names=["transposed", "nearest"],
        options=["bfloat16", "plain_adam", "checkpoint", "channels_last", "accumulate"],
        ways=[[], ["bfloat16"]],
        depth=2,
    )


def test_every_option_is_a_row_and_the_report_compares_it(scripts, steps):
    shown = scripts("report.training")
    assert [row["variant"] for row in steps if row["group"] == "options"] == [
        "float32",
        "bfloat16",
        "float32, plain Adam",
        "float32, checkpointed activations",
        "float32, channels last",
        "float32, batch in 2 parts",
    ]
    assert all(row["step_ms"]["least"] > 0 and row["peak_mib"] > 0 for row in steps)
    # weights and two moments of Adam, four bytes each, and a count of steps for every tensor
    assert all(row["state_mib"] * 2**20 > 12 * row["parameters"] * 0.99 for row in steps)
    text = "\n".join(shown.tables({"rows": steps}))
    assert text.count("nearest: ") == 2
    nearest, taken, short = shown.in_short(steps)
    mine = [row for row in steps if row["group"] == "upsamplers nearest"]
    least = [
        min(r["step_ms"]["median"] for r in mine if r["upsampler"] == name)
        for name in ("nearest", "transposed")
    ]
    assert float(nearest[2]) == pytest.approx(least[0] / least[1], abs=6e-4)
    assert "share of the matrix rate" in taken[0] and taken[2].endswith(" %")
    package = [row for row in steps if row["group"] == "demucs package"]
    least = [
        min(r["step_ms"]["median"] for r in package if r["package"] == p) for p in (True, False)
    ]
    assert float(short[2]) == pytest.approx(least[0] / least[1], abs=6e-4)


def test_what_does_not_fit_says_so(scripts, monkeypatch):
    training, shown = scripts("training"), scripts("report.training")
    made = training.Steps.of

    def too_large(self, one, batch):
        if one.checkpoint:
            raise torch.OutOfMemoryError
        return made(self, one, batch)

    monkeypatch.setattr(training.Steps, "of", too_large)
    size = training.Size(2, 2, 0.05, 2)
    candidates = training.comparisons([], ["checkpoint"], [[]], 1)["options"]
    rates = {"float32": 1.0}
    rows = training.compared("options", candidates, size, 1, torch.device("cpu"), rates)
    assert [row["out_of_memory"] for row in rows] == [False, True]
    assert "checkpointed activations | out of memory" in shown.tables({"rows": rows})[1]


@pytest.mark.parametrize("option", ["checkpoint", "accumulate", "channels_last", "plain_adam"])
def test_options_make_the_same_step(scripts, option):
    made = scripts("candidates")
    weights = []
    for one in (made.BASELINE, made.with_options(made.BASELINE, [option])):
        steps = made.Steps(made.Size(2, 2, 0.05, 2), torch.device("cpu"))
        torch.manual_seed(0)
        steps.parameters(one)
        torch.manual_seed(1)
        steps.of(one, 2)()
        weights.append(torch.cat([p.flatten() for p in steps.networks[one.network].parameters()]))
    torch.testing.assert_close(*weights, atol=2e-5, rtol=1e-4)


def test_loading_is_measured_against_training(scripts):
    loader, shown = scripts("loader"), scripts("report.loader")
    rows = loader.run(
        torch.device("cpu"),
        songs=3,
        song_seconds=0.5,
        **TINY,
        batch=4,
        workers=[0, 1],
        batches=2,
        depth=2,
    )
    loads = [row for row in rows if row["kind"] == "load"]
    caches = [(row["workers"], row["cache"]) for row in loads]
    assert caches == [(0, "cold"), (0, "warm"), (0, "warm"), (1, "warm")]
    computed = next(row for row in rows if row.get("computed"))
    taken = computed["extracts_per_s"] * computed["extract_gigamacs"]
    assert taken == pytest.approx(computed["gigamacs_per_s"], rel=0.05)
    short = list(shown.in_short(rows))
    warm = next(row for row in loads if row["chosen"] and row["cache"] == "warm")
    ratio = warm["extracts_per_s"] / computed["extracts_per_s"]
    assert f"{ratio:.1f}" in [row[2] for row in short if "warm" in row[0] and "comp" in row[0]]
    assert shown.tables({"rows": rows})[1].count("workers") == 4


@pytest.mark.parametrize("memory", [80, 140])
def test_what_a_gpu_is_asked_for(scripts, monkeypatch, memory):
    """Every section has a name of its own, and settings that its script takes."""
    run, measure = scripts("run"), scripts("measure")
    monkeypatch.setattr(measure, "memory_gigabytes", lambda device: memory)
    sections = run.sections("cuda", quick=False)
    names = [run.label(kind, settings) for kind, settings in sections]
    assert len(set(names)) == len(names)
    assert names[:2] == [
        "training, 100 channels, 10 s, batch 32",
        "training, 100 channels, 10 s, batch 32, options",
    ]
    for kind, settings in sections:
        wanted = {key: value for key, value in settings.items() if key != "of"}
        inspect.signature(run.MEASURES[kind]).bind("cuda", **wanted)


def test_the_package_takes_its_turns_in_float32_too(scripts):
    group = scripts("candidates").comparisons([], [], [["bfloat16", "compile"]], 1)[
        "demucs package"
    ]
    assert [(one.package, one.variant) for one in group] == [
        (True, "float32"),
        (True, "bfloat16"),
        (False, "bfloat16, torch.compile"),
    ]


def test_what_is_compiled_is_measured_at_one_size(scripts, monkeypatch):
    training = scripts("training")
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    size = training.Size(2, 2, 0.05, 2)
    candidates = training.comparisons([], ["compile"], [[]], 1)["options"]
    rows = training.compared("options", candidates, size, 1, torch.device("cpu"), {"float32": 1.0})
    assert ["other_peak_mib" in row for row in rows] == [True, False]
    eager, compiled = scripts("report.training").tables({"rows": rows})[1].splitlines()[2:]
    assert eager.split(" | ")[7].isdigit() and not compiled.split(" | ")[7]
