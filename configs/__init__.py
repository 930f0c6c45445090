"""The configuration of an experiment: what changes its result, and nothing that does not."""

from configs.loading import ConfigError, load, load_text, presets
from configs.schema import Config

__all__ = ["Config", "ConfigError", "load", "load_text", "presets"]
