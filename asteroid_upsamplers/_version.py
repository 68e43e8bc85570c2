"""The version, in one place that a build can read without importing anything."""

__version__ = "0.2.0"
