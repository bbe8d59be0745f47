"""How configuration is declared: frozen, validated dataclasses that refuse unknown fields.

@settings
class TeachConfig:
    epochs: int = Field(default=50, gt=0, description="epochs per teacher")
"""

from collections.abc import Callable
from typing import TypeVar, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a configuration record; every field carries its unit in `Field(description=)`."""
    make: Callable[[type[T]], type[T]] = dataclass(
        frozen=True, kw_only=True, config=ConfigDict(extra="forbid")
    )
    return make(cls)
