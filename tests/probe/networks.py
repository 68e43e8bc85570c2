"""Networks that are not ours, with upsampling in every way that the probe knows."""

import torch
from torch import nn
from torch.nn import functional as F


class Subpixel(nn.Module):
    """A convolution, and a reshape of one of many kinds that brings its channels into time."""

    def __init__(self, how, groups=1, stride=4):
        super().__init__()
        self.conv = nn.Conv1d(2, 2 * stride, 3, padding=1, groups=groups)
        self.how, self.stride = how, stride

    def forward(self, x):
        y, s = self.conv(x), self.stride
        batch, channels, time = y.shape
        if self.how == "view":
            split = y.view(batch, channels // s, s, time)
            return split.permute(0, 1, 3, 2).reshape(batch, -1, time * s)
        if self.how == "transpose":
            return y.transpose(1, 2).reshape(batch, time * s, channels // s).transpose(1, 2)
        return y.unflatten(1, (s, -1)).permute(0, 2, 3, 1).flatten(2)


class Interpolation(nn.Module):
    """An interpolation and a convolution."""

    def __init__(self, mode, **settings):
        super().__init__()
        self.mode = mode
        self.conv = nn.Conv1d(2, 4, 5, **settings)

    def forward(self, x):
        up = F.interpolate(x, scale_factor=4, mode=self.mode)
        return self.conv(F.pad(up, (2 * self.conv.dilation[0],) * 2))


class Functional(nn.Module):
    """A function call with weights that no module of torch holds."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2, 7))

    def forward(self, x):
        return F.conv_transpose1d(x, self.weight, None, 4, groups=2)


def vocoder():
    """As the generator of HiFi-GAN: weight norm, LeakyReLU, strides 8 and 4, padding."""
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        norm(nn.Conv1d(20, 16, 7, padding=3)),
        nn.LeakyReLU(0.1),
        norm(nn.ConvTranspose1d(16, 8, 16, 8, padding=4)),
        nn.LeakyReLU(0.1),
        norm(nn.ConvTranspose1d(8, 4, 8, 4, padding=2)),
        nn.LeakyReLU(),
        norm(nn.Conv1d(4, 1, 7, padding=3)),
        nn.Tanh(),
    )


def demucs():
    from demucs.demucs import Demucs

    return Demucs(["a", "b"], channels=4, depth=4, lstm_layers=1, resample=False)


def hdemucs():
    from torchaudio.models import HDemucs

    return HDemucs(["a", "b"], channels=4, depth=4, nfft=1024)


def conv_tasnet():
    from asteroid.models import ConvTasNet

    return ConvTasNet(2, n_blocks=1, n_repeats=1, bn_chan=8, hid_chan=8, skip_chan=8, n_filters=32)


def sudormrf():
    from asteroid.models import SuDORMRFNet

    return SuDORMRFNet(2, bn_chan=8, num_blocks=1, upsampling_depth=3, n_filters=32)
