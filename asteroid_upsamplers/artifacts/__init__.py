"""How loud upsampling artifacts are, in decibels. Measures any layer, network or recording.

One measurement a file; those of a layer start from its impulse responses (:func:`system_of`).
Results print, compare (``differences``) and serialise (``to_dict``).
"""

from ..dsp import UpsamplingSystem
from .detection import Detection, detect_tones, detectable_level
from .edge_effects import EdgeEffects, edge_effects
from .feature_losses import (
    FeatureLoss,
    MultiScaleDiscriminator,
    PhaseShuffle,
    StridedFeatures,
)
from .filtering import Filtering, filtering, filtering_of_signal
from .loss_gradient import GradientPeriodicity, loss_gradient, strided_gradient
from .nonlinearity import NoiseTones, noise_tones
from .prominence import narrowness, prominence, prominence_threshold
from .replicas import Replicas, replicas
from .result import Result
from .silence import SilenceResponse, SilentWindows, silence_response, silent_windows
from .system import system_of
from .tones import StackTones, ToneLevels, stack_tones, tone_levels

__all__ = [
    "Detection",
    "EdgeEffects",
    "FeatureLoss",
    "Filtering",
    "GradientPeriodicity",
    "MultiScaleDiscriminator",
    "NoiseTones",
    "PhaseShuffle",
    "Replicas",
    "Result",
    "SilenceResponse",
    "SilentWindows",
    "StackTones",
    "StridedFeatures",
    "ToneLevels",
    "UpsamplingSystem",
    "detect_tones",
    "detectable_level",
    "edge_effects",
    "filtering",
    "filtering_of_signal",
    "loss_gradient",
    "narrowness",
    "noise_tones",
    "prominence",
    "prominence_threshold",
    "replicas",
    "silence_response",
    "silent_windows",
    "stack_tones",
    "strided_gradient",
    "system_of",
    "tone_levels",
]
