"""From a configuration to a trained model, through Asteroid's System and Lightning's Trainer."""

from . import quiet  # noqa: F401
from .callbacks import Checkpoints, EndTogether, LearningCurve, StopNotFinite
from .checkpoints import (
    CHECKPOINTS,
    WholeCheckpoints,
    best_so_far,
    epochs_of,
    is_over,
    learning_curve,
    newest_checkpoint,
)
from .config import (
    build_model,
    check_same_experiment,
    load_config,
    parse_arguments,
    save_config,
    start_from_file,
)
from .datamodule import SongSegments, samples
from .launch import devices_and_nodes, explained, possible_trainer, slurm_plugins
from .losses import LOSSES
from .memory import checkpoint_activations, make_optimizer, sizes, summary
from .results import is_finished, provenance, save_results
from .same_songs import check_same_songs, save_songs
from .system import SeparationSystem

__all__ = [
    "CHECKPOINTS",
    "LOSSES",
    "Checkpoints",
    "EndTogether",
    "LearningCurve",
    "SeparationSystem",
    "SongSegments",
    "StopNotFinite",
    "WholeCheckpoints",
    "best_so_far",
    "build_model",
    "check_same_experiment",
    "check_same_songs",
    "checkpoint_activations",
    "devices_and_nodes",
    "epochs_of",
    "explained",
    "is_finished",
    "is_over",
    "learning_curve",
    "load_config",
    "make_optimizer",
    "newest_checkpoint",
    "parse_arguments",
    "possible_trainer",
    "provenance",
    "samples",
    "save_config",
    "save_results",
    "save_songs",
    "sizes",
    "slurm_plugins",
    "start_from_file",
    "summary",
]
