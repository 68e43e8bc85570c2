"""Model files of strangers: damaged, mutated and hostile ones, the same for every seed."""

import copy
import functools
import gzip
import io
import itertools
import math
import os
import pickle
import random
import struct
import subprocess
import tarfile
import zipfile

import torch
from torch import nn

from asteroid_upsamplers.models import DemucsLike, OpenUnmix, UpsamplerConvTasNet

from ..test_names import NAMES, PAIRS

CANARY = "canary"
"""What hostile code would write, below the folder that it runs in."""

EXTREMES = {
    "SuDORMRFNet": {"upsampling_depth": 10**6},
    "ConvTasNet": {"fb_name": "stft", "n_filters": 50_000},
    "DPTNet": {"n_repeats": 10**6},
    "LSTMTasNet": {"hid_size": 10**6},
    "DeMask": {"kernel_size": 10**7},
    "DCUNet": {"architecture": "../x"},
    "DCCRNet": {"architecture": "__import__"},
}


def laughs(levels=30):
    """A billion values by way of a few lists."""
    value = ["ha"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


class Call:
    """Pickles into a call."""

    def __init__(self, function, *args):
        self.parts = (function, args)

    def __reduce__(self):
        return self.parts


def saved(content, legacy=False):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def packages():
    return copy.deepcopy(_packages())


@functools.lru_cache
def _packages():
    torch.manual_seed(0)
    demucs = DemucsLike(("a", "b"), channels=2, depth=2, sample_rate=8000, kernel_size=4)
    small = {"hidden_size": 8, "n_layers": 1, "n_fft": 64, "hop_length": 16, "max_bin": 20}
    tasnet = {"n_blocks": 1, "n_repeats": 1, "n_filters": 8, "bn_chan": 4, "hid_chan": 4}
    tasnet |= {"skip_chan": 4, "upsampler": "linear"}
    networks = [demucs, OpenUnmix(("a", "b"), **small), UpsamplerConvTasNet(n_src=2, **tasnet)]
    return [network.serialize() for network in networks]


def rezipped(content, edit, compression=zipfile.ZIP_STORED):
    """A file of torch with other parts, and the right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, part in edit(parts):
            archive.writestr(name, part)
    return file.getvalue()


def with_pickle(content, edit):
    """With another ``data.pkl``."""
    return rezipped(
        content, lambda parts: [(n, edit(p) if n.endswith("data.pkl") else p) for n, p in parts]
    )


def mutated(content, rng):
    """Bits flipped, bytes lost, doubled, moved or set to what is special in a pickle."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(content))
        kind = rng.randrange(5)
        if kind == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at] = rng.choice(b"\x00\xff\x80(.c0RbQqrtNKJX\x8a\x8c\x93")
        elif kind == 2:
            del content[at : at + rng.choice((1, 4, 100))]
        elif kind == 3:
            content[at:at] = content[at : at + rng.choice((1, 4, 100))]
        else:
            content[at : at + 4] = struct.pack("<i", rng.choice((-1, 0, 2**31 - 1, 10**9)))
        content = content or bytearray(b"\0")
    return bytes(content)


def mutations(count, rng):
    """Of whole files, and of pickles in files that are whole otherwise."""
    zips = [saved(package) for package in packages()]
    others = [saved(packages()[0], legacy=True), saved(packages()[0]["state_dict"], legacy=True)]
    others += [gzip.compress(zips[0]), saved(packages()[0]["state_dict"])]
    for number in range(count):
        whole = rng.choice(zips + others)
        if number % 2:
            yield f"mutated {number}", mutated(whole, rng)
        else:
            pickled = with_pickle(rng.choice(zips), lambda part: mutated(part, rng))
            yield f"pickle mutated {number}", pickled
    for whole, share in itertools.product(zips + others, (0.01, 0.3, 0.9, 0.999)):
        yield f"cut at {share}", whole[: int(share * len(whole))]


def calls():
    """Code in every place, and functions that only take memory."""
    mark = f"echo x > {CANARY}"
    functions = [
        Call(os.system, mark), Call(eval, f"open('{CANARY}', 'w')"), Call(exec, "1/0"),
        Call(open, CANARY, "w"), Call(subprocess.Popen, ["touch", CANARY]), Call(os.mkdir, CANARY),
        Call(torch.load, CANARY), Call(torch.hub.load, "x", "y"), Call(torch.jit.load, CANARY),
        Call(__import__, "this"), Call(getattr, "", "join"), Call(bytearray, 10**11),
        Call(torch.UntypedStorage, 10**11), Call(torch.FloatTensor, 10**10), Call(DemucsLike, "x"),
        Call(torch.zeros, 10**10), Call(torch.storage._load_from_bytes, b"x"), Call(complex, 1),
        Call(pickle.loads, b"."), Call(torch.sparse_coo_tensor, (10**6, 10**6)), nn.Linear(1, 1),
        DemucsLike, torch.randn, torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8),
    ]  # fmt: skip
    places = ("infos", "model_args", "state_dict", "model_name", None)
    for number, (function, place) in enumerate(itertools.product(functions, places)):
        package = packages()[0]
        if place is None:
            package = function
        elif place in ("infos", "model_args"):
            package[place]["x"] = function
        elif place == "state_dict":
            package[place][next(iter(package[place]))] = function
        else:
            package[place] = function
        called = getattr(function, "parts", [function])[0]
        yield f"{called} in {place}", saved(package, legacy=number % 2)


def opcodes():
    """Pickles that no pickler writes."""
    system = b"cposix\nsystem\n"
    pickles = [
        b"\x80\x02" + system + b"X\x04\0\0\0echo\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04echo\x85R.",
        b"(S'echo'\niposix\nsystem\n.", b"(cposix\nsystem\nS'echo'\no.", b"\x80\x02\x82\x01.",
        b"cbuiltins\neval\n(S'1'\ntR.", b"\x80\x02}r\xff\xff\xff\xff.", b"\x80\x02]q\0h\0a.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", b"\x80\x02Xxxxx",
        b"\x80\x02" + b"(" * 10**4, b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b".",
        b"", b".", b"\x80\x7f.", b"h\0.",
        b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R.", b"\x80\x02K\x01Q.", b"\x80\x02X\x01\0\0\0xQ.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01tR.",
        b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".",
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsK\x01sb.",
        b"\x80\x02casteroid_upsamplers.cli\nmain\n)R.",
        b"\x80\x02c\n\n.", b"\x80\x02c\xff\xfe\nx\n.",
    ]  # fmt: skip
    whole = saved({"x": torch.ones(3)})
    for number, pickled in enumerate(pickles):
        yield f"opcodes {number}", pickled
        yield f"opcodes {number} in a zip", with_pickle(whole, lambda part, new=pickled: new)
        magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + pickle.dumps(1001, 2)
        yield f"opcodes {number}, before 1.6", magic + pickle.dumps({}, 2) + pickled


def wrong_types():
    values = [None, 0, -1, 1.5, math.nan, True, "x", b"x", [], {}, [[{}]], {"x": {}}, torch.ones(2)]
    values += [10**30, {1: 2}, nested(400), laughs(), "x" * 10**6]
    for key in ("model_name", "model_args", "state_dict", "infos"):
        for value in values:
            yield f"{key} is {type(value)!s}", saved({**packages()[0], key: value})
    for value in values:
        yield f"only {type(value)!s}", saved(value)
    for name in ("get", "register_model", "BaseModel", "warnings", "__builtins__", "__loader__"):
        yield f"model {name}", saved({**packages()[0], "model_name": name})
    for name in ("../x", "Upsampler", "Upsampler__class__", "UpsamplerXUMX", "XUMX", "\x1b[2J\n"):
        yield f"model {name!r}", saved({**packages()[0], "model_name": name})


def settings(share, rng):
    """Each with absurd values; a share of all of them."""
    values = [10**9, 10**6, 10**30, 0, -1, 1.5, 1e9, math.nan, -math.inf, "x", None, [], [1], {}]
    values += [True, {"x": 1}, {"kernel_size": 10**9}, {"stride": 2}, {"__class__": 1}, laughs()]
    values += ["../../x", "x" * 10**5, [10**6] * 3, {"init": "x"}, {"form": "/x"}]
    for package in packages():
        name, args = package["model_name"], package["model_args"]
        for key, (number, value) in itertools.product(args, enumerate(values)):
            if rng.random() < share:
                changed = {**package, "model_args": {**args, key: value}}
                yield f"{name}: {key}, value {number}", saved(changed)
        yield "unknown", saved({**package, "model_args": {**args, "self": 1, "path": "/x"}})
    for name, prefix in itertools.product(EXTREMES, ("", "Upsampler")):
        args = {"n_src": 2, **EXTREMES[name]}
        package = {**packages()[0], "model_name": prefix + name, "model_args": args}
        yield f"{prefix}{name} {args}", saved(package)


def sources():
    package = packages()[0]
    for sources in [[name, "b"] for name in [*NAMES, 1, None, ["a"], b"a"]] + [
        list(p) for p in PAIRS
    ]:
        args = {**package["model_args"], "sources": sources}
        yield f"sources {sources}", saved({**package, "model_args": args})


def weights():
    package = packages()[0]
    state = dict(package["state_dict"])
    first, value = next(iter(state.items()))
    changed = [value.to(kind) for kind in (torch.int8, torch.int64, torch.bool, torch.complex64)]
    changed += [value.to(torch.float64) * 1e300, value * math.nan, value / 0, value.to_sparse()]
    changed += [
        value.to("meta"),
        value[0],
        value[:0],
        value.expand(3, *value.shape),
        torch.ones(()),
    ]
    changed += [torch.ones(1).expand(10**5, 10**5), torch.ones(1).expand(value.shape), [1], None]
    changed += [torch.quantize_per_tensor(value, 1, 0, torch.qint8)]
    for number, other in enumerate(changed):
        yield f"weight {number}", saved({**package, "state_dict": {**state, first: other}})
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        cast = {key: weight.to(kind) for key, weight in state.items()}
        yield f"all of {kind}", saved({**package, "state_dict": cast})
    states = [{}, {first: value}, {**state, "x": value}, {**state, 1: value}, {**state, "": value}]
    states += [{p + k: v for k, v in state.items()} for p in ("module.", "_orig_mod.", "net.", ".")]
    for number, other in enumerate(states):
        yield f"state {number}", saved({**package, "state_dict": other})
    wide = {"encoder.0.0.weight": torch.ones(1).expand(10**6, 2, 8)}
    yield "a wide network of Demucs", saved(wide)
    yield (
        "a deep network of Demucs",
        saved({f"encoder.{i}.0.weight": torch.ones(2, 2, 8) for i in range(200)}),
    )


def archives():
    """Names of parts that a careless reader would write to; parts that unpack to too much."""
    whole = saved(packages()[0])
    for start in ("/", "../../", "C:\\", "./", "//x/", CANARY + "/"):
        yield (
            f"parts below {start}",
            rezipped(whole, lambda ps, s=start: [(s + n, p) for n, p in ps]),
        )
        yield (
            f"a part more at {start}",
            rezipped(whole, lambda ps, s=start: [*ps, (s + CANARY, b"x")]),
        )
    for name in ("constants.pkl", "code/__torch__.py", "byteorder", "version", "data.pkl"):
        yield (
            f"also {name}",
            rezipped(
                whole, lambda ps, n=name: [*ps, (ps[0][0].partition("/")[0] + "/" + n, b"999")]
            ),
        )
    zeros = saved({**packages()[0], "infos": {"x": torch.zeros(10**7)}})
    for kind in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"compressed {kind}", rezipped(zeros, list, kind)
    yield "gzip of zeros", gzip.compress(bytes(3 * 10**7))
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.ReLU()), script)
    yield "TorchScript", script.getvalue()
    old = io.BytesIO()
    with tarfile.open(fileobj=old, mode="w") as archive:
        for name in ("storages", "tensors", "pickle", "../" + CANARY):
            archive.addfile(tarfile.TarInfo(name))
    yield "tar", old.getvalue()


def kinds():
    yield "empty", b""
    yield "text", b"not a model\n" * 100
    yield (
        "a pointer of git-lfs",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    )
    yield "a web page", b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
    header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    yield "safetensors", len(header).to_bytes(8, "little") + header + bytes(4)
    yield "hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100)
    yield "a zip", rezipped(saved({}), lambda parts: [("x/readme.txt", b"x")])


def files(seed, mutants, share):
    """Names and contents of all of them."""
    rng = random.Random(seed)
    parts = [mutations(mutants, rng), settings(share, rng)]
    for part in (calls, opcodes, wrong_types, sources, weights, archives, kinds):
        parts.append(part())
    return itertools.chain(*parts)
