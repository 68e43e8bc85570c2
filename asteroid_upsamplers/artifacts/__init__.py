"""How loud upsampling artifacts are, in decibels. Measures any layer, network or recording.

One measurement a file, with its prediction from the weights beside it. Results print, compare
(``differences``) and serialise (``to_dict``).
"""

from .boundary import Boundary, boundary, measure_boundary
from .detection import Detection, detect_tones, detectable_level
from .feature_losses import (
    FeatureLoss,
    MultiScaleDiscriminator,
    PhaseShuffle,
    StridedFeatures,
)
from .filtering import Filtering, filtering, filtering_of_signal, measure_filtering
from .filters import UpsamplingFilters, filters_of
from .loss_gradient import GradientPeriodicity, loss_gradient, strided_gradient
from .nonlinearity import NoiseTones, measure_noise_tones, noise_tones
from .prominence import prominence, prominence_threshold
from .replicas import Replicas, measure_replicas, replicas
from .result import Result
from .silence import SilenceResponse, SilentWindows, silence_response, silent_windows
from .tones import StackTones, ToneLevels, measure_tone_levels, stack_tones, tone_levels

__all__ = [
    "Boundary",
    "Detection",
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
    "UpsamplingFilters",
    "boundary",
    "detect_tones",
    "detectable_level",
    "filtering",
    "filtering_of_signal",
    "filters_of",
    "loss_gradient",
    "measure_boundary",
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
    "tone_levels",
]
