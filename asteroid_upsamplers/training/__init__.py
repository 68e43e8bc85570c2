"""From a configuration to a trained model, through Asteroid's System and Lightning's Trainer."""

from .callbacks import EndTogether, LearningCurve, MovableCheckpoint, learning_curve
from .checkpoints import LAST, WholeCheckpoints, newest_checkpoint
from .config import build_model, check_same_experiment, load_config, parse_arguments, save_config
from .datamodule import SongSegments, samples
from .launch import devices_and_nodes, explained, slurm_plugins
from .losses import LOSSES
from .memory import checkpoint_activations, make_optimizer, summary
from .results import is_finished, provenance, save_results
from .system import SeparationSystem

__all__ = [
    "LAST",
    "LOSSES",
    "EndTogether",
    "LearningCurve",
    "MovableCheckpoint",
    "SeparationSystem",
    "SongSegments",
    "WholeCheckpoints",
    "build_model",
    "check_same_experiment",
    "checkpoint_activations",
    "devices_and_nodes",
    "explained",
    "is_finished",
    "learning_curve",
    "load_config",
    "make_optimizer",
    "newest_checkpoint",
    "parse_arguments",
    "provenance",
    "samples",
    "save_config",
    "save_results",
    "slurm_plugins",
    "summary",
]
