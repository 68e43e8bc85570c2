"""However a network makes its signal longer, the report is that of an equal plain layer."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import WaveUNet
from asteroid_upsamplers.probe import probe, watching
from asteroid_upsamplers.probe.text import describe_network

S, TAPS = 4, 8


class Vocoder(nn.Module):
    """Frames, one way to make them longer, and an interpolation."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.pre = way, nn.Conv1d(20, 6, 5, padding=2)
        self.frames, self.phases = nn.Linear(6, TAPS, bias=False), nn.Linear(6, S, bias=False)
        self.taps, self.post = nn.Conv1d(6, 1, 9, padding=4), nn.Conv1d(1, 1, 5, padding=2)

    def forward(self, x):
        y = self.way(self, F.relu(self.pre(x)))
        return self.post(F.interpolate(y, scale_factor=2, mode="linear"))


def transposed(net, z):
    return F.conv_transpose1d(z, net.frames.weight.T[:, None], stride=S)


def places(frames):
    return torch.arange(frames.shape[1])[:, None] * S + torch.arange(TAPS)


def index_add(net, z):
    frames = net.frames(z.mT)
    y = frames.new_zeros(1, 1, (frames.shape[1] + 1) * S)
    return y.index_add_(2, places(frames).flatten(), frames.reshape(1, 1, -1))


def fold(net, z):
    frames, length = net.frames(z.mT).mT, (z.shape[2] + 1) * S
    return F.fold(frames, (1, length), (1, TAPS), stride=(1, S))[:, :, 0]


def halves(net, z):
    first, second = net.frames(z.mT).chunk(2, -1)
    return (F.pad(first, (0, 0, 0, 1)) + F.pad(second, (0, 0, 1, 0))).flatten(1)[:, None]


def loop(net, z):
    frames = net.frames(z.mT)
    y = frames.new_zeros(1, 1, (frames.shape[1] + 1) * S)
    for k in range(frames.shape[1]):
        y[..., k * S : k * S + TAPS] += frames[:, k]
    return y


def outside_of_torch(net, z):
    frames = net.frames(z.mT)
    y = np.zeros((1, 1, (frames.shape[1] + 1) * S), np.float32)
    np.add.at(y[0, 0], places(frames).numpy(), frames[0].detach().numpy())
    return torch.from_numpy(y)


def stuffed(net, z):
    y = z.new_zeros(1, z.shape[1], (z.shape[2] + 1) * S)
    y[..., : z.shape[2] * S : S] = z
    return F.conv1d(F.pad(y, (TAPS - 1, 0)), net.frames.weight.flip(0).T[None])


OVERLAPPING = {
    "transposed": (transposed, "transposed"),
    "dispatcher's convolution": (
        lambda net, z: torch.convolution(
            z, net.frames.weight.T[:, None], None, [S], [0], [1], True, [0], 1
        ),
        "transposed",
    ),
    "time before frequency": (
        lambda net, z: F.conv_transpose2d(
            z[..., None], net.frames.weight.T[:, None, :, None], stride=(S, 1)
        )[..., 0],
        "transposed2d",
    ),
    "index_add_": (index_add, "overlap-add"),
    "fold": (fold, "overlap-add"),
    "zeros between": (stuffed, "stretch"),
    "halves": (halves, "subpixel"),
    "loop": (loop, "unknown"),
    "outside of torch": (outside_of_torch, "unknown"),
}


def test_overlap_add_in_any_way_is_a_transposed_convolution():
    expected = probe(Vocoder(transposed), 16000, (1, 20, 600))
    assert expected.silence.rms > 0
    for name, (way, kind) in OVERLAPPING.items():
        report = probe(Vocoder(way), 16000, (1, 20, 600))
        found = [(layer.kind, layer.stride, layer.output_rate_hz) for layer in report.layers]
        assert found == [(kind, S, 8000), ("linear", 2, 16000)], name
        assert report.silence.rms == pytest.approx(expected.silence.rms, rel=1e-4), name
        assert report.silence.share_at_predicted_tones == pytest.approx(1, abs=1e-4), name
        assert report.attributed_to == [report.layers[0].name], name
        assert report.unseen_factor == (S if kind == "unknown" else 1), name
        assert any("not seen" in remark for remark in report.remarks) == (kind == "unknown"), name
        assert report.total_factor == 2 * S


REPEATED = {
    "interpolate": lambda z: F.interpolate(z, scale_factor=S),
    "area": lambda z: F.interpolate(z, size=S * z.shape[2], mode="area"),
    "repeat_interleave": lambda z: z.repeat_interleave(S, -1),
    "expand": lambda z: z[..., None].expand(*z.shape, S).flatten(2),
    "repeat": lambda z: z[..., None].repeat(1, 1, 1, S).flatten(2),
    "stack": lambda z: torch.stack([z] * S, -1).flatten(2),
    "kron": lambda z: torch.kron(z, torch.ones(1, 1, S)),
    "broadcast": lambda z: (z[..., None] + torch.zeros(S)).flatten(2),
    "index": lambda z: z[..., torch.arange(z.shape[2] * S) // S],
    "gather": lambda z: z.gather(2, (torch.arange(z.shape[2] * S) // S).expand(1, 6, -1)),
}


def test_repeating_in_any_way_is_nearest_interpolation():
    expected = None
    for name, way in REPEATED.items():
        network = Vocoder(lambda net, z, way=way: net.taps(way(z)))
        with torch.no_grad(), watching(network) as calls:
            network(torch.randn(1, 20, 60))
        assert [(call.kind, call.stride) for call in calls] == [("nearest", S), ("linear", 2)], name
        response = calls[0].system().responses
        expected = response if expected is None else expected
        torch.testing.assert_close(response, expected, msg=name)


OTHERS = {
    "subpixel": lambda net, z: F.relu(net.phases(z.mT)).flatten(1)[:, None],
    "interleaved": lambda net, z: net.taps(torch.stack([z, 2 * z, z, 3 * z], -1).flatten(2)),
    "linear": lambda net, z: net.taps(
        F.interpolate(z, scale_factor=S, mode="linear", align_corners=True)
    ),
    "matrix": lambda net, z: net.taps(z @ torch.ones(z.shape[2], S * z.shape[2])),
    "spectrum": lambda net, z: net.taps(torch.fft.irfft(torch.fft.rfft(z), n=S * z.shape[2])),
    "grid_sampler_2d": lambda net, z: net.taps(
        F.grid_sample(z[:, :, None], torch.zeros(1, 1, S * z.shape[2], 2), align_corners=False)[
            :, :, 0
        ]
    ),
}


@torch.no_grad()
def test_other_ways_are_seen_with_their_stride():
    for kind, way in OTHERS.items():
        network = Vocoder(way)
        with watching(network) as calls:
            network(torch.randn(1, 20, 60))
        assert [(call.kind, call.stride) for call in calls] == [(kind, S), ("linear", 2)]
    network = Vocoder(lambda net, z: net.taps(F.interpolate(z, scale_factor=1.5, mode="linear")))
    assert [layer.stride for layer in probe(network, 12000, (1, 20, 600)).layers] == [1.5, 2]


LONGER_AT_THE_SAME_RATE = {
    "cat": lambda z: torch.cat([z, z], 2),
    "repeat": lambda z: z.repeat(1, 1, 2),
    "norm over all": lambda z: z.mT.flatten(1).softmax(1).unflatten(1, (-1, z.shape[1])).mT,
    "circular convolution": lambda z: torch.fft.irfft(torch.fft.rfft(z, n=2 * z.shape[2]))[
        ..., : z.shape[2]
    ],
    "upsampling along frequency": lambda z: F.interpolate(z[:, None], scale_factor=(S, 1))[
        :, 0, ::S
    ],
    "relative attention": lambda z: z @ torch.ones(z.shape[2], 2 * z.shape[2])[:, : z.shape[2]],
}


@torch.no_grad()
def test_what_makes_a_signal_longer_at_the_same_rate_is_no_upsampling():
    for name, way in LONGER_AT_THE_SAME_RATE.items():
        network = Vocoder(lambda net, z, way=way: net.taps(way(z)))
        with watching(network) as calls:
            network(torch.randn(1, 20, 60))
        assert [call.kind for call in calls] == ["linear"], name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_are_seen_as_their_source():
    """TorchScript, torch.export with a free and a fixed length, and torch.compile.

    Frozen programs have no names of weights, and change as they run unless that is switched off.
    """
    network = nn.Sequential(
        nn.Conv1d(20, 4, 3),
        nn.ReLU(),
        nn.ConvTranspose1d(4, 2, 8, 4),
        nn.ConvTranspose1d(2, 1, 4, 2),
    ).eval()
    x = torch.randn(1, 20, 200)
    free = ({2: torch.export.Dim("time", min=8)},)
    programs = {
        "source": network,
        "script": torch.jit.script(network),
        "trace": torch.jit.trace(network, x),
        "frozen": torch.jit.freeze(torch.jit.trace(network, x)),
        "export": torch.export.export(network, (x,), dynamic_shapes=free).module(),
        "compiled": torch.compile(network, backend="eager"),
        "fixed length": torch.export.export(network, (x,)).module(),
    }
    expected = probe(network, 8000, tuple(x.shape))
    for name, program in programs.items():
        report = probe(program, 8000, tuple(x.shape))
        for layer, other in zip(report.layers, expected.layers, strict=True):
            assert (layer.name == other.name) == (name != "frozen"), name
            assert layer.tonal_fraction == pytest.approx(other.tonal_fraction), name
            assert layer.attribution_db == pytest.approx(other.attribution_db, abs=1e-3), name
        assert report.total_factor == 8, name
        assert report.unseen_factor == (None if name == "fixed length" else 1), name


class Activation(nn.Module):
    """Anti-aliased, as BigVGAN's: the rate is twice as high around the nonlinearity."""

    def __init__(self):
        super().__init__()
        self.up = layers.Nearest(2, 2, stride=2)
        self.down = nn.Conv1d(2, 2, 2, stride=2)

    def forward(self, x):
        return self.down(self.up(x).sin())


def test_anti_aliased_activations_are_one_group():
    torch.manual_seed(0)
    norm = nn.Conv1d(2, 2, 3)
    network = nn.Sequential(Activation(), nn.ConvTranspose1d(2, 2, 2, 2), norm, Activation(), norm)
    report = probe(network, 8000, (1, 2, 2000))
    assert [layer.group for layer in report.layers] == ["*.up", "", "*.up"]
    assert report.layers[0].attribution_db == report.layers[2].attribution_db
    assert report.attributed_to == ["1"]
    rows = str(describe_network(report, "network")).split("attribution\n")[1].splitlines()
    assert [row.split("  ")[0] for row in rows[:2]] == ["*.up (2)", "1"]


def test_the_packages_own_forms_are_seen():
    report = probe(WaveUNet(depth=3, channels=2), 22050, (1, 2, 22050))
    assert [layer.stride for layer in report.layers] == [2, 2, 2]
    network = nn.Sequential(nn.Conv1d(1, 3, 1), layers.Cubic(3, 1, stride=4))
    x = (1, 1, 4000)
    expected = probe(network, 8000, x)
    report = probe(layers.fold_for_inference(network), 8000, x)
    assert [(layer.kind, layer.stride) for layer in report.layers] == [("folded", 4)]
    assert report.noise.rms_db == pytest.approx(expected.noise.rms_db, abs=1e-3)
    assert report.layers[0].tonal_fraction < 1e-9


def test_a_network_in_which_nothing_grows_is_examined_at_given_strides():
    def comb(x):
        return x + 0.1 * (torch.arange(x.shape[2]) % 4 == 0)

    report = probe(comb, 8000, (1, 1, 8000), strides=[4])
    assert (report.layers, report.silence.share_at_predicted_tones) == ([], pytest.approx(1))
    assert [tone["frequency_hz"] for tone in report.silence.tones] == [2000, 4000]
    assert report.attributed_tones == "silence"
