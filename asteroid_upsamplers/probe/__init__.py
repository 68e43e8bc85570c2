"""Finds the upsampling layers of a running network, and measures the tones that they make."""

from .calls import UpsamplingCall
from .network import examine, probe
from .recording import RecordingReport, probe_recording, tone_frequencies
from .results import ProbeReport
from .run import ProbeResult, run_probe
from .watch import watching

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
