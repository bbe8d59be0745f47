"""Values into a record, with pydantic's complaints turned into one sentence a user can act on."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from datm.config.fields import Field, default_of, fields_of, is_record, record_fields, user_name
from datm.errors import InputError

T = TypeVar("T")
Nested = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """A value somebody gave, and where: `origin` is '' or 'my.yaml: ', to open a message with."""

    value: Any
    origin: str = ""


def build(record: type[T], base: Nested, given: Mapping[str, Given]) -> T:
    """The record with `base`'s values, then the given ones by user-facing name.

    Raises InputError, one sentence, for the first value that does not fit.
    """
    known = {field.name: field for field in fields_of(record)}
    tree = _copy(base)
    for name, item in given.items():
        field = known[name]
        value = item.value
        if isinstance(value, bool) and not field.admits(bool):  # pydantic would take it for 1 or 0
            raise InputError(_wrong_type(field, item))
        if isinstance(value, str) and field.is_only_list:
            value = split_list(value)
        place = tree
        for group in field.path[:-1]:
            place = place.setdefault(group, {})
        place[field.path[-1]] = value
    try:
        return TypeAdapter(record).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(_sentence(first, list(known.values()), given)) from error


def from_text(field: Field, text: str) -> Any:
    """A command line's text as a value: none, a list 'a,b' or '[a, b]', or text that pydantic
    converts to the field's type."""
    if field.admits(type(None)) and text.lower() in ("none", "null"):
        return None
    if not field.is_list or not (field.is_only_list or "," in text or text.startswith("[")):
        return text
    if text.startswith("["):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"{field.name}: {text!r} is no list; give {field.type}.") from error
    return split_list(text)


def split_list(text: str) -> list[str]:
    """'a,b' -> ['a', 'b']; a part with '=' belongs to the one before: 'convnet-3,width=64,lenet'
    names two networks."""
    parts: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if "=" in part and parts:
            parts[-1] += f",{part}"
        elif part:
            parts.append(part)
    return parts


def nested_defaults(record: type) -> Nested:
    """Every default of a record, by path; a field without one is left out, a group never is."""
    tree: Nested = {}
    for name, info in record_fields(record).items():
        default = default_of(info)
        if default is not PydanticUndefined:
            tree[name] = nested(default)
        elif is_record(info.annotation):
            assert isinstance(info.annotation, type)
            tree[name] = nested_defaults(info.annotation)
    return tree


def nested(value: Any) -> Any:
    """A record as nested dicts; anything else as it is."""
    if not is_record(type(value)):
        return value
    return {name: nested(getattr(value, name)) for name in record_fields(type(value))}


def _copy(tree: Nested) -> Nested:
    return {key: _copy(v) if isinstance(v, dict) else v for key, v in tree.items()}


def _sentence(error: ErrorDetails, fields: list[Field], given: Mapping[str, Given]) -> str:
    """One of pydantic's errors in a sentence: the field, what was found, what to give."""
    where = tuple(str(part) for part in error["loc"])
    field = next((f for f in fields if where[: len(f.path)] == f.path), None)
    if error["type"] == "value_error":  # a record's own check, written as a sentence
        text = str(error["ctx"]["error"])
        if any(f"{f.name}.".startswith(f"{text.partition(':')[0]}.") for f in fields):
            return text  # it opens with a field's or a group's name
        name = field.name if field else user_name(where)
        if any(f.name == f"{name}.{text.partition(':')[0]}" for f in fields):
            return f"{name}.{text}"  # it opens with the name of one of the group's fields
        return f"{name}: {text}" if name else text
    if field is None:
        return f"{user_name(where)}: {error['msg']}."
    if error["type"] == "missing":
        return f"{field.name}: is missing; give {field.type}."
    item = given.get(field.name, Given(error["input"]))
    if error["type"].endswith(("_type", "_parsing", "_from_float")):
        return _wrong_type(field, item)
    close = difflib.get_close_matches(str(item.value), _choices(error), 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return (
        f"{item.origin}{field.name}: {shown(item.value)} is not allowed; give {field.type}{hint}."
    )


def _wrong_type(field: Field, item: Given) -> str:
    nouns = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    noun = next((word for kind, word in nouns.items() if field.admits(kind)), "of the right type")
    return f"{item.origin}{field.name}: {shown(item.value)} is not {noun}; give {field.type}."


def _choices(error: ErrorDetails) -> list[str]:
    """The values a Literal allows, from pydantic's text: 'a', 'b' or 'c'."""
    expected = str(error.get("ctx", {}).get("expected", ""))
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def shown(value: Any) -> str:
    """A value as a person would type it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{list(value)!r}" if isinstance(value, tuple) else repr(value)
