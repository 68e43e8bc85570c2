"""Configurations: variants hold what differs, options come last, mistakes are named."""

import pytest
import torch
import yaml

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.report.paper import TABLE_1
from asteroid_upsamplers.training import build_model, load_config, parse_arguments, save_config
from tests.training.recipe import CONF, LOCAL

VARIANTS = sorted((LOCAL / "variants").glob("*.yml"))
SIZES = sorted((LOCAL / "sizes").glob("*.yml"))
MODELS = sorted((LOCAL / "models").iterdir())
WEIGHTS = {  # as published, trained ones only
    "WaveUNet": 10_263_498,
    "OpenUnmix": 4 * 8_893_348,
    "CrossNetOpenUnmix": 4 * 8_893_348,
    "SamsNet": 3_772_472,
}


def parse(*words):
    return parse_arguments("test", ["--conf", str(CONF), "--exp_dir", "x", *map(str, words)])


def test_variants_and_sizes_hold_only_what_differs():
    base = load_config(CONF)
    for path in (*VARIANTS, *SIZES):
        conf = load_config(CONF, [path])
        changed = {
            (section, key)
            for section, values in conf.items()
            for key, value in values.items()
            if base[section][key] != value
        }
        named = {
            (s, key) for s, values in yaml.safe_load(path.read_text()).items() for key in values
        }
        assert changed == named - {("model", "upsampler")} or changed == named, path


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
    assert (conf["training"]["epochs"], conf["training"]["batch_size"]) == (600, 32)
    rates = {path.stem: load_config(CONF, [path])["optim"] for path in VARIANTS}
    assert {optim["optimizer"] for optim in rates.values()} == {"adam"}
    assert rates.pop("subpixel_modified")["lr"] == 1e-4
    assert {optim["lr"] for optim in rates.values()} == {2e-4}


def test_every_model_has_whole_configurations_and_its_published_size():
    for folder in MODELS:
        for size in (None, "small", "demo"):
            files = [folder / "full.yml"]
            files += [LOCAL / "sizes" / f"{size}.yml", folder / f"{size}.yml"] if size else []
            words = [w for path in files if path.exists() for w in ("--variant", path)]
            conf, _ = parse(*words)
            assert conf["model"]["name"] == folder.name
            if size is None and folder.name in WEIGHTS:
                with torch.device("meta"):
                    parameters = build_model(conf).parameters()
                assert sum(p.numel() for p in parameters if p.requires_grad) == WEIGHTS[folder.name]


def test_options_come_after_variants():
    variants = [
        w for path in (LOCAL / "variants" / "nearest.yml", SIZES[-1]) for w in ("--variant", path)
    ]
    conf, own = parse(
        *variants,
        *[
            "--channels",
            "5",
            "--modified",
            "true",
            "--lr",
            "1e-3",
            "--upsampler_kernel_size",
            "7",
            "--devices",
            "null",
        ],
        *(
            "--sources",
            "[vocals, other]",
            "--musdb18_dir",
            "songs: $HOME [x] ${y} # z",
            "--ema=0.5",
        ),
    )
    assert str(own.exp_dir) == "x" and not own.dry_run
    assert conf["model"]["upsampler"] == "nearest"
    assert conf["training"]["batch_size"] == 4
    assert conf["optim"]["lr"] == 0.001 and conf["training"]["ema"] == 0.5
    assert conf["training"]["devices"] is None
    assert conf["data"]["musdb18_dir"] == "songs: $HOME [x] ${y} # z"
    model = build_model(conf)
    assert model.get_model_args()["modified"] is True
    assert model.decoder[0].upsampler.kernel_size == 7
    assert list(model.sources) == ["vocals", "other"]


PLAIN = str.maketrans({c: f"\\{c}" for c in "?${}"})
"""Signs that mean themselves in the messages below."""


NULLABLE = {
    "data": ["num_workers"],
    "model": ["upsampler_kernel_size"],
    "training": ["half_lr", "early_stop", "devices"],
}


def test_null_stands_where_it_is_documented(tmp_path):
    """On the command line and in a file, however YAML writes it."""
    keys = [(section, key) for section, names in NULLABLE.items() for key in names]
    layers = {word: tmp_path / f"{word or 'nothing'}.yml" for word in ("8", "null", "~", "")}
    for word, path in layers.items():
        sections = (s + ":\n" + "".join(f"  {k}: {word}\n" for k in NULLABLE[s]) for s in NULLABLE)
        path.write_text("".join(sections))
    for word in ("null", "~", ""):
        options = [w for _, key in keys for w in (f"--{key}", word)]
        for words in (options, ["--variant", layers[word]]):
            conf, _ = parse("--variant", layers["8"], *words)
            assert [conf[section][key] for section, key in keys] == [None] * len(keys)
    assert [parse("--variant", layers["8"])[0][s][key] for s, key in keys] == [8] * len(keys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--chanels 5", "unknown option --chanels, did you mean channels"),
        ("--epochs 0", "training.epochs is 0: must be at least 1"),
        ("--epochs many", "training.epochs: Value 'many' .* could not be converted to Integer"),
        ("--epochs 2.5", "training.epochs: Value '2.5' .* could not be converted to Integer"),
        ("--segment -1", "data.segment is -1.0: must be at least 0.001"),
        ("--ema 1", "training.ema is 1.0: must be at most 0.999999"),
        ("--lr nan", "optim.lr is nan: must be at least 1e-30"),
        ("--epochs", "argument --epochs: expected one argument"),
        ("--epochs true", "training.epochs: Value 'True' of type 'bool'"),
        ("--epochs ???", "training.epochs is '???': no value"),
        ("--epochs ${x}", "training.epochs is '${x}': must be a value, not a reference"),
        ("--compile 2", "training.compile is 2: must be true or false"),
        ("--modified null", "model.modified must be true or false"),
        ("--sources {a:b}", "a value is of another type"),
        ("--depth 100", "DemucsLike cannot be built so: Storage size"),
        ("--optimizer get", "optim.optimizer is 'get': must be the name of"),
        ("--lr 1e-400", "optim.lr is 0.0: must be at least"),
        ("--segment inf", "data.segment is inf: must be a finite number"),
        ("--precision 8", "training.precision is '8': must be 32-true or"),
        ("--optimizer adm", "optim.optimizer is 'adm': must be the name of"),
        ("--upsampler neerest", "unknown upsampler 'neerest': did you mean nearest"),
        ("--depth 0", "depth"),
        ("--sources drums", "data.sources: Invalid value"),
        ("model: {chanels: 3}", "unknown key model.chanels of DemucsLike, did you mean channels"),
        ("modl: {channels: 3}", "variant.yml: unknown key modl, did you mean model"),
        ("training: {epoch: 3}", "variant.yml: unknown key training.epoch, did you mean epochs"),
        ("# nothing", "variant.yml: must be sections of keys"),
        ("training: {epochs: 3, epochs: 4}", "variant.yml: cannot be .* duplicate key epochs"),
        ("optim: {optimizer: '${x}'}", "optim.optimizer is '${x}': must be the name"),
        ("training: 3", "variant.yml: must be sections of keys"),
        ("model: [1, 2", "cannot be read as YAML"),
        ("just words", "variant.yml: must be sections of keys"),
        (
            "model: {name: WaveUNets}",
            "model.name is 'WaveUNets': must be a separator of music, did",
        ),
        ("model: {name: ConvTasNet}", "model.name is 'ConvTasNet': must be a separator of music"),
        ("model: {name: OpenUnmix}", "model.normalize must be true or false"),
        ("model: {name: OpenUnmix, normalize: true, modified: true}", "unknown key model.modified"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, words, message):
    if not words.startswith("--"):
        (tmp_path / "variant.yml").write_text(words)
        words = f"--variant {tmp_path / 'variant.yml'}"
    with pytest.raises(UsageError, match=message.translate(PLAIN)) as caught:
        parse(*words.split())
    assert "\n" not in str(caught.value)


def test_an_experiment_is_what_it_learns_not_where_or_how_long(tmp_path):
    conf = load_config(CONF)
    older = {s: dict(values) for s, values in conf.items()}
    del older["training"]["half_lr"]
    older["separation"] = {"shifts": 10}
    (tmp_path / "conf.yml").write_text(yaml.safe_dump(older))  # of an earlier version
    conf["training"]["epochs"], conf["data"]["musdb18_dir"] = 700, "/mnt/musdb18"
    save_config(conf, tmp_path)
    assert load_config(tmp_path / "conf.yml") == conf
    conf["model"]["channels"] = 7
    with pytest.raises(UsageError, match="channels 100 -> 7.*another --tag"):
        save_config(conf, tmp_path)
