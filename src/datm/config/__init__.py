"""Recipes from names, YAML files and single overrides, and back to YAML."""

from datm.config.fields import Field, value_of
from datm.config.load import differences, dump_config, fields, load_config, unknown_name

__all__ = [
    "Field",
    "differences",
    "dump_config",
    "fields",
    "load_config",
    "unknown_name",
    "value_of",
]
