"""Configurations: variants hold what differs, options come last, mistakes are named."""

from pathlib import Path

import pytest
import yaml

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.report.paper import TABLE_1
from asteroid_upsamplers.training import build_model, load_config, parse_arguments, save_config

LOCAL = Path(__file__).parents[2] / "recipes" / "musdb18" / "DemucsUpsamplers" / "local"
CONF = LOCAL / "conf.yml"
VARIANTS = sorted((LOCAL / "variants").glob("*.yml"))


@pytest.mark.parametrize(
    "path", [*VARIANTS, *(LOCAL / "sizes").glob("*.yml")], ids=lambda p: p.stem
)
def test_variants_hold_only_what_differs(path):
    base, conf = load_config(CONF), load_config(CONF, [path])
    overlay = yaml.safe_load(path.read_text())
    for section, values in overlay.items():
        for key, value in values.items():
            assert conf[section][key] == value
            redundant = base[section][key] == value
            assert not redundant or path.stem.startswith("transposed") or path.stem == "demucs"
            conf[section][key] = base[section][key]
    assert conf == base


def test_every_row_of_table_1_is_a_variant():
    rows = {}
    for path in VARIANTS:
        model = load_config(CONF, [path])["model"]
        rows[model["upsampler"], model["modified"], model["encoder_context"]] = path.stem
    assert rows.keys() == TABLE_1.keys()
    assert len(rows) == len(VARIANTS)


def test_the_full_configuration_is_the_papers():
    """[1] Sec. 6: 600 epochs, batch 32, Adam, 2e-4, and 1e-4 for the modified subpixel CNN."""
    conf = load_config(CONF)
    assert conf["training"]["epochs"] == 600
    assert conf["training"]["batch_size"] == 32
    assert conf["model"]["channels"] == 100
    rates = {path.stem: load_config(CONF, [path])["optim"] for path in VARIANTS}
    assert {optim["optimizer"] for optim in rates.values()} == {"adam"}
    assert rates.pop("subpixel_modified")["lr"] == 1e-4
    assert {optim["lr"] for optim in rates.values()} == {2e-4}


def test_options_come_after_variants():
    nearest, small = LOCAL / "variants" / "nearest.yml", LOCAL / "sizes" / "small.yml"
    conf, exp_dir = parse_arguments(
        "test",
        f"--conf {CONF} --variant {nearest} --variant {small} --exp_dir x --channels 5 "
        "--modified true --lr 0.5 --upsampler_kernel_size 7".split(),
    )
    assert exp_dir == Path("x")
    assert conf["model"]["upsampler"] == "nearest"
    assert conf["model"]["channels"] == 5
    assert conf["model"]["modified"] is True
    assert conf["optim"]["lr"] == 0.5
    assert conf["training"]["batch_size"] == 4
    assert build_model(conf).decoder[0].upsampler.kernel_size == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chanels", "5"], "unknown option --chanels, did you mean channels"),
        (["--epochs", "0"], "training.epochs is 0, allowed is a whole number from 1 up"),
        (["--overlap", "0.7"], "separation.overlap is 0.7, allowed is a number from 0 to 0.5"),
        (["--batch", "0"], "separation.batch is 0, allowed is a whole number from 1 up"),
        (["--segment", "-1"], r"data.segment is -1.0, allowed"),
        (["--upsampler", "neerest"], "unknown upsampler 'neerest': did you mean nearest"),
        (["--depth", "0"], "model.depth is 0, allowed"),
        (["--upsampler_kernel_size", "2"], "kernel_size is 2, allowed"),
        (["--precision", "8"], "training.precision is '8', allowed is 32-true or"),
        (["--optimizer", "adm"], "optim.optimizer is 'adm', allowed"),
    ],
    ids=str,
)
def test_wrong_options_are_named_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_arguments("test", ["--conf", str(CONF), "--exp_dir", "x", *arguments])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n  chanels: 3\n", "unknown key model.chanels, did you mean channels"),
        ("modl:\n  channels: 3\n", "unknown section 'modl', did you mean model"),
        ("training:\n  epochs: many\n", "training.epochs is 'many', allowed"),
        ("training:\n  epochs: 2.5\n", "training.epochs is 2.5, allowed"),
        ("separation:\n  batch: 2.5\n", "separation.batch is 2.5, allowed"),
        ("model: [1, 2\n", "not YAML"),
        ("just words", "sections of keys"),
        (None, "cannot be read"),
    ],
    ids=str,
)
def test_wrong_variants_are_named_in_one_line(tmp_path, text, message):
    path = tmp_path / "variant.yml"
    if text is not None:
        path.write_text(text)
    arguments = ["--conf", str(CONF), "--variant", str(path), "--exp_dir", "x"]
    with pytest.raises(UsageError, match=message) as caught:
        parse_arguments("test", arguments)
    assert "\n" not in str(caught.value)


def test_an_experiment_folder_holds_one_configuration(tmp_path):
    conf = load_config(CONF)
    save_config(conf, tmp_path)
    conf["training"]["epochs"] = 700  # longer is the same experiment
    save_config(conf, tmp_path)
    assert load_config(tmp_path / "conf.yml") == conf
    conf["model"]["channels"] = 7
    with pytest.raises(UsageError, match="channels 100 -> 7.*another --tag"):
        save_config(conf, tmp_path)


def test_more_chunks_at_once_are_the_same_experiment(tmp_path):
    """One that was begun before there was the key, too."""
    conf = load_config(CONF)
    del conf["separation"]["batch"]
    save_config(conf, tmp_path)
    for batch in (1, 4):
        conf["separation"]["batch"] = batch
        save_config(conf, tmp_path)
        assert load_config(tmp_path / "conf.yml") == conf
