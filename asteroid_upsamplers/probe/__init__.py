"""Finds the upsampling layers of a running network, and measures the tones that they make."""

from .calls import UpsamplingCall
from .gate import gated_probe
from .limit import LoudToneError, require_quiet
from .lint import LintFinding, LintReport, lint
from .lint_target import run_lint
from .network import examine, probe
from .recording import RecordingReport, probe_recording, tone_frequencies
from .results import ProbeReport
from .run import ProbeResult, run_probe
from .watch import watching

__all__ = [
    "LintFinding",
    "LintReport",
    "LoudToneError",
    "ProbeReport",
    "ProbeResult",
    "RecordingReport",
    "UpsamplingCall",
    "examine",
    "gated_probe",
    "lint",
    "probe",
    "probe_recording",
    "require_quiet",
    "run_lint",
    "run_probe",
    "tone_frequencies",
    "watching",
]
