"""How loud upsampling artifacts are, in decibels. Measures any layer, network or recording.

One measurement a file, with its prediction from the weights beside it. Results print, compare
(``differences``) and serialise (``to_dict``).
"""

from .detection import Detection, detect_tones, detectable_level
from .edge_effects import EdgeEffects, edge_effects, measure_edge_effects
from .feature_losses import (
    FeatureLoss,
    MultiScaleDiscriminator,
    PhaseShuffle,
    StridedFeatures,
)
from .filtering import Filtering, filtering, filtering_of_signal, measure_filtering
from .loss_gradient import GradientPeriodicity, loss_gradient, strided_gradient
from .nonlinearity import NoiseTones, measure_noise_tones, noise_tones
from .prominence import prominence, prominence_threshold
from .replicas import Replicas, measure_replicas, replicas
from .result import Result
from .silence import SilenceResponse, SilentWindows, silence_response, silent_windows
from .system import UpsamplingSystem, system_of
from .tones import StackTones, ToneLevels, measure_tone_levels, stack_tones, tone_levels

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
    "measure_edge_effects",
    "measure_filtering",
    "measure_noise_tones",
    "measure_replicas",
    "measure_tone_levels",
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
