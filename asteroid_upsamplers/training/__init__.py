"""From a configuration to a trained model, through Asteroid's System and Lightning's Trainer."""

from .config import build_model, load_config, parse_arguments, save_config
from .fit import dry_run, fit, is_finished
from .provenance import provenance

__all__ = [
    "build_model",
    "dry_run",
    "fit",
    "is_finished",
    "load_config",
    "parse_arguments",
    "provenance",
    "save_config",
]
