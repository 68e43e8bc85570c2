"""How loud upsampling artifacts are, in decibels. Measures any layer or callable."""

from .silence import SilenceResponse, silence_response
from .tones import ToneLevels, tone_levels

__all__ = ["SilenceResponse", "ToneLevels", "silence_response", "tone_levels"]
