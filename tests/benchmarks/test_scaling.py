"""What other machines would take is computed from what was measured, and says so."""

import json
import math

import pytest

from tests.benchmarks.test_training_and_loader import scripts  # noqa: F401  (a fixture)


@pytest.fixture
def scaling(scripts):  # noqa: F811
    return scripts("scaling")


@pytest.fixture
def found(scaling):
    shares = dict.fromkeys(("transposed", "nearest", "linear", "subpixel"), 0.5)
    return scaling.Measured(shares, 1.0, "a machine")


def conf_of(scaling, variant):
    local = scaling.LOCAL
    return scaling.load_config(local / "conf.yml", [local / "variants" / f"{variant}.yml"])


def test_the_document_has_the_figures_of_the_results(scaling):
    """The same that ``python benchmarks/scaling.py`` would write now."""
    _, figures, _ = scaling.between_marks(scaling.DOCUMENT.read_text())
    assert figures.strip() == scaling.render(scaling.measured())


def test_a_row_of_table_1_on_one_device(scaling, found):
    """By hand: 703 M parameters of 18 bytes, 33 TFLOP a step."""
    machine = scaling.Machine("large", 1, 1000, 500, math.inf, "bf16-mixed")
    one = scaling.plan(conf_of(scaling, "transposed"), machine, found)
    assert one.parameters == 703_148_208
    assert one.parts == 1 and one.exchange == 0
    assert one.step == pytest.approx(33e12 / 2 / (500e12 * 0.5), rel=0.05)
    state = 18 * one.parameters / 1e9
    machine = scaling.Machine("small", 1, 20, 500, math.inf, "bf16-mixed")
    smaller = scaling.plan(conf_of(scaling, "transposed"), machine, found)
    assert smaller.parts > 1 and smaller.step == one.step
    assert smaller.gigabytes <= 20 * scaling.USABLE
    activations = (one.gigabytes - state, smaller.gigabytes - state)
    assert activations[0] == pytest.approx(smaller.parts * activations[1])


def test_devices_share_a_step_and_exchange_gradients(scaling, found):
    conf = conf_of(scaling, "nearest")
    plans = [
        scaling.plan(conf, scaling.Machine("some", n, 1000, 500, 100, "bf16-mixed"), found)
        for n in (1, 2, 4)
    ]
    assert plans[0].step == pytest.approx(2 * plans[1].step) == pytest.approx(4 * plans[2].step)
    gigabytes = 4 * plans[0].parameters / 1e9
    # a ring: each device sends its part to the others, twice
    assert [p.exchange for p in plans] == pytest.approx([0, gigabytes / 100, 1.5 * gigabytes / 100])


def test_memory_that_does_not_suffice_takes_the_smallest_groups(scaling, found):
    machine = scaling.Machine("small", 4, 1, 100, 10, "16-mixed")
    assert scaling.plan(conf_of(scaling, "subpixel"), machine, found).parts == 2  # of four extracts


def test_the_memory_factor_compares_with_what_is_counted(scaling):
    row = {"channels": 4, "depth": 6, "seconds": 1, "batch": 2, "other_batch": 1}
    conf = conf_of(scaling, "transposed")
    conf["model"]["channels"] = 4
    counted = scaling.saved_bytes(conf, 44100) / 2**20
    row |= {"peak_mib": 10 + 3 * counted, "other_peak_mib": 10}
    assert scaling.memory_factor({**row, "dtype": "float32"}) == pytest.approx(3)
    assert scaling.memory_factor({**row, "dtype": "bfloat16"}) == pytest.approx(6)


def test_a_gpu_takes_its_faster_way(scaling, tmp_path):
    """Eagerly or compiled, for every upsampler; a CPU's figures do not count beside a GPU's."""
    rows = []
    for number, name in enumerate(sorted(scaling.UPSAMPLERS)):
        row = {"upsampler": name, "encoder_context": 1, "dtype": "bfloat16", "out_of_memory": False}
        row |= {"channels": 4, "depth": 6, "seconds": 1, "batch": 2, "other_batch": 1}
        row |= {"step_gigamacs": 100.0, "gigamacs_per_s": 1000.0, "peak_mib": 20}
        rows.append({**row, "variant": "bfloat16", "step_ms": {"median": 400.0}})
        rows[-1]["other_peak_mib"] = 10
        compiled = 200.0 + 400.0 * (number == 0)
        rows.append({**row, "variant": "bfloat16, torch.compile", "step_ms": {"median": compiled}})
    machine = {"device": "a GPU", "date": "2026-01-01", "commit": "0" * 7}
    section = {"kind": "training", "machine": machine, "rows": rows}
    for device, content in (("cuda", {"training": section}), ("cpu", {})):
        (tmp_path / f"{device}.json").write_text(json.dumps({"sections": content}))
    first, *others = scaling.measured(tmp_path).shares.values()
    assert first == pytest.approx(0.25)
    assert others == pytest.approx([0.5] * 3)
