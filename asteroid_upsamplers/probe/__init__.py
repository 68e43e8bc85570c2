"""Finds the upsampling layers of a running network, and measures the tones that they make."""

from .calls import UpsamplingCall, watching
from .network import examine, probe
from .recording import RecordingReport, probe_recording, tone_frequencies
from .results import ProbeReport
from .run import ProbeResult, run_probe

__all__ = [
    "ProbeReport",
    "ProbeResult",
    "RecordingReport",
    "UpsamplingCall",
    "examine",
    "probe",
    "probe_recording",
    "run_probe",
    "tone_frequencies",
    "watching",
]
