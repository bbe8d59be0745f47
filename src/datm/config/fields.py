"""The fields of a recipe as its users know them: one dotted name each, a type in words, a default.

A recipe is nested records (`@settings`). Most names are the path through them; a few that everyone
needs stand higher up: `ipc`, `network`, `match.*`, `device`. A field has exactly one name.
"""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Path = tuple[str, ...]

# where a path begins with the left side, its name begins with the right side instead
HOISTED: dict[Path, Path] = {
    ("teach", "network"): ("network",),
    ("distill", "ipc"): ("ipc",),
    ("distill", "match"): ("match",),
    ("runtime",): (),
}
# a group given as a plain value means this field of it
SHORTHANDS = {"data": "data.source"}


@dataclass(frozen=True)
class Field:
    """One field: `path` through the records, user-facing `name`, type, default, description."""

    path: Path
    name: str
    annotation: Any
    metadata: tuple[Any, ...]
    default: Any
    required: bool
    description: str

    @property
    def type(self) -> str:
        """The type in words with its bounds: 'an integer greater than 0'."""
        return type_in_words(self.annotation, self.metadata)

    def admits(self, kind: Any) -> bool:
        """Whether the type is `kind` or a union that contains it."""
        return kind in _plain_types(self.annotation)

    @property
    def is_list(self) -> bool:
        """Whether the type is a list, or a union that contains one."""
        return list in _plain_types(self.annotation)

    @property
    def is_only_list(self) -> bool:
        """Whether the type is a list and at most none beside it."""
        return set(_plain_types(self.annotation)) <= {list, type(None)}


def fields_of(record: type) -> list[Field]:
    """Every field of a nested record, in the order in which they are written to a file."""
    found = list(_walk(record, (), None))
    return sorted(found, key=lambda field: "." in field.name)  # stable: plain names come first


def is_record(annotation: Any) -> bool:
    """Whether a type is a `@settings` record."""
    return isinstance(annotation, type) and hasattr(annotation, "__pydantic_fields__")


def record_fields(record: type) -> dict[str, FieldInfo]:
    """A record's own fields as pydantic knows them."""
    own: dict[str, FieldInfo] = record.__pydantic_fields__  # type: ignore[attr-defined]
    return own


def default_of(info: FieldInfo) -> Any:
    """A field's default; PydanticUndefined where it has none."""
    return info.get_default(call_default_factory=True, validated_data={})


def user_name(path: Path) -> str:
    """The user-facing name of the field (or group) at `path`."""
    for start, instead in HOISTED.items():
        if path[: len(start)] == start:
            path = instead + path[len(start) :]
            break
    return ".".join(path)


def type_in_words(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """'an integer greater than 0', "'zca' or 'none'", 'a list of numbers'."""
    choices = [_alternative_in_words(a) for a in _alternatives(annotation) if a is not type(None)]
    if type(None) in _alternatives(annotation):
        choices.append("none")
    bounds = " and ".join(_bounds(metadata))
    if bounds and choices[0].startswith("a list"):
        choices[0] = choices[0].replace("a list", f"a list {bounds}", 1)
    elif bounds:
        choices[0] = f"{choices[0]} {bounds}"
    return _either(choices)


def _walk(record: type, path: Path, defaults: Any) -> Iterator[Field]:
    for name, info in record_fields(record).items():
        here = (*path, name)
        default = default_of(info) if defaults is None else getattr(defaults, name)
        if is_record(info.annotation):
            assert isinstance(info.annotation, type)
            group = None if default is PydanticUndefined else default
            yield from _walk(info.annotation, here, group)
        else:
            yield Field(
                path=here,
                name=user_name(here),
                annotation=info.annotation,
                metadata=tuple(info.metadata),
                default=None if default is PydanticUndefined else default,
                required=default is PydanticUndefined,
                description=info.description or "",
            )


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself; Literals and Annotated types stay whole."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for a in get_args(annotation) for inner in _alternatives(a))
    return (annotation,)


def _plain_types(annotation: Any) -> tuple[Any, ...]:
    """The members of a union without their bounds; `list` for every kind of list."""
    plain = []
    for member in _alternatives(annotation):
        if get_origin(member) is Annotated:
            member = get_args(member)[0]
        plain.append(list if get_origin(member) in (list, tuple) else member)
    return tuple(plain)


def _alternative_in_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *extras = arguments
        metadata = [m for e in extras for m in (e.metadata if isinstance(e, FieldInfo) else [e])]
        return type_in_words(inner, tuple(metadata))
    if origin is Literal:
        return _either([repr(value) for value in arguments])
    if origin in (list, tuple):
        each = [type_in_words(a) for a in arguments if a is not Ellipsis]
        if origin is list or Ellipsis in arguments:
            return f"a list, each {each[0]}"
        if len(set(each)) == 1:
            return f"a list of {len(each)}, each {each[0]}"
        return f"a list of {', '.join(each)}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    return words.get(annotation) or f"a {getattr(annotation, '__name__', annotation)}"


def _bounds(metadata: tuple[Any, ...]) -> Iterator[str]:
    """'greater than 0' from the constraints of annotated_types."""
    words = {
        "gt": "greater than {}",
        "ge": "of at least {}",
        "lt": "less than {}",
        "le": "of at most {}",
        "multiple_of": "divisible by {}",
        "min_length": "of at least {}",
        "max_length": "of at most {}",
    }
    for constraint in metadata:
        for name, phrase in words.items():
            bound = getattr(constraint, name, None)
            if bound is not None:
                yield phrase.format(f"{bound:g}" if isinstance(bound, float) else bound)


def _either(choices: list[str]) -> str:
    if len(choices) < 2:
        return "".join(choices)
    return ", ".join(choices[:-1]) + " or " + choices[-1]


def value_of(recipe: Any, field: Field) -> Any:
    """The field's value in `recipe`."""
    for name in field.path:
        recipe = getattr(recipe, name)
    return recipe
