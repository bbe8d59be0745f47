"""Reading and writing recipes.

Later wins: the recipe's own values, then the YAML file, then a method, then overrides. What does
not belong is refused, never ignored: unknown names, names given twice, values of the wrong type.
"""

import difflib
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from datm.config.fields import SHORTHANDS, Field, fields_of, value_of
from datm.config.validate import (
    Given,
    Nested,
    build,
    from_text,
    nested,
    nested_defaults,
    shown,
)
from datm.errors import InputError
from datm.methods import apply_method

if TYPE_CHECKING:
    from datm.recipes import Recipe

T = TypeVar("T")

_HEADER = "# The settings of a run of datm; `datm run THIS_FILE` repeats it.\n"


def fields() -> list[Field]:
    """Every setting: .name, .type (in words), .default, .description."""
    return fields_of(_recipe_class())


def load_config(
    name_or_path: str | os.PathLike[str],
    overrides: Mapping[str, str] | None = None,
    method: str | None = None,
) -> "Recipe":
    """The recipe of this name or in this YAML file, with `overrides` (texts by field name) applied.

    A `method` (see `methods.py`) is laid over the recipe, the overrides over both; what the method
    derives from the recipe, such as PAD's share from the images per class, it derives from the
    overridden one. Overrides of the method's own settings win. Raises InputError for anything that
    does not belong, in one sentence.
    """
    if method is not None:
        found = load_config(name_or_path)
        # The first round tells the method the overrides. It lies on the method, not on the recipe,
        # as what is overridden has to fit only the two together.
        for _ in range(2):
            base = nested(apply_method(method, found))
            found = resolve(_recipe_class(), base, {}, overrides or {})
        return found
    text = os.fspath(name_or_path)
    if not looks_like_path(text):
        return resolve(_recipe_class(), nested(_named(text)), {}, overrides or {})
    path = Path(text)
    given = read_yaml(path)
    start = given.pop("recipe", None)
    base = nested_defaults(_recipe_class()) if start is None else nested(_named(start, f"{path}: "))
    given.setdefault("name", path.stem)
    return resolve(_recipe_class(), base, given, overrides or {}, f"{path}: ")


def looks_like_path(text: str) -> bool:
    """Whether RECIPE means a file rather than a recipe's name."""
    from datm.recipes import RECIPES

    if text in RECIPES:
        return False
    return text.endswith((".yaml", ".yml")) or "/" in text or os.sep in text or Path(text).exists()


def resolve(
    record: type[T],
    base: Nested,
    given: Mapping[str, Any],
    overrides: Mapping[str, str],
    origin: str = "",
) -> T:
    """`record` from `base`, a file's mapping (read from `origin`) and the command line's texts."""
    known = {field.name: field for field in fields_of(record)}
    values = {name: Given(value, origin) for name, value in flatten(given, known, origin).items()}
    for name, text in flatten(overrides, known).items():
        values[name] = Given(from_text(known[name], text))
    return build(record, base, values)


def flatten(given: Mapping[Any, Any], known: Mapping[str, Field], origin: str = "") -> Nested:
    """Nested or dotted settings as one value per field name.

    Raises InputError for a name that is unknown or comes twice, and for a group that is no mapping.
    """
    groups = {
        ".".join(parts[:n]) for parts in (k.split(".") for k in known) for n in range(1, len(parts))
    }
    flat: Nested = {}
    spelt: dict[str, str] = {}

    def take(name: str, value: Any, spelling: str) -> None:
        if name in flat:
            raise InputError(
                f"{origin}{name}: is given twice, as {spelt[name]} and as {spelling}; keep one."
            )
        flat[name], spelt[name] = value, spelling

    def walk(mapping: Mapping[Any, Any], prefix: str) -> None:
        for key, value in mapping.items():
            name = f"{prefix}{key if isinstance(key, str) else shown(key)}"
            if name in SHORTHANDS and isinstance(value, str):
                take(SHORTHANDS[name], value, name)
            elif name in groups and isinstance(value, Mapping):
                walk(value, f"{name}.")
            elif name in groups and value is not None:
                inside = next(k for k in known if k.startswith(f"{name}."))
                raise InputError(
                    f"{origin}{name}: {shown(value)} is no group of settings; give fields of it, "
                    f"such as {inside}."
                )
            elif name in known:
                take(name, value, f"{prefix}{key}" if not prefix else f"{prefix[:-1]}: {key}")
            elif name not in groups:
                raise InputError(origin + unknown_name(name, list(known.values())))

    walk(given, "")
    return flat


def unknown_name(
    name: str, known: Sequence[Field], others: Sequence[str] = (), dashes: str = ""
) -> str:
    """The sentence that refuses `name`, with the nearest valid one of `known` and `others`.

    `dashes` stand before a name where it was given.
    """
    names = [*(field.name for field in known), *others]
    path = tuple(name.split("."))
    same_path = [f.name for f in known if f.path[: len(path)] == path]
    same_leaf = [n for n in names if n.split(".")[-1] == path[-1]]
    close = same_path or difflib.get_close_matches(name, names, 1, 0.75) or same_leaf
    close = close or difflib.get_close_matches(name, names, 1, 0.5)
    near = " or ".join(dashes + other for other in close[:3])
    hint = f"did you mean {near}?" if close else "`datm run --help` lists all."
    return f"{dashes}{name}: there is no such setting; {hint}"


def dump_config(recipe: "Recipe") -> str:
    """YAML text of every setting; `load_config` of it gives an equal recipe."""
    tree: Nested = {}
    for field in fields_of(type(recipe)):
        *groups, leaf = field.name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        value = value_of(recipe, field)
        place[leaf] = list(value) if isinstance(value, tuple) else value
    return _HEADER + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def differences(one: "Recipe", other: "Recipe") -> list[tuple[Field, Any, Any]]:
    """The fields in which two recipes differ, with the value in each."""
    pairs = ((f, value_of(one, f), value_of(other, f)) for f in fields_of(type(one)))
    return [(field, left, right) for field, left, right in pairs if left != right]


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises InputError where there is none, or a key comes twice."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a recipe's name or a YAML file.")
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}); give a YAML file.") from error
    except _DuplicateKey as error:
        raise InputError(f"{path}: {error}; keep one of them.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "syntax error"
        raise InputError(f"{path}: is not valid YAML ({problem}{line}); mend the file.") from error
    if value is None:
        raise InputError(f"{path}: is empty; give at least `recipe: NAME`.")
    if not isinstance(value, dict):
        raise InputError(
            f"{path}: holds a {type(value).__name__}, not settings; write `name: value` lines."
        )
    return value


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes a list on one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        return super().represent_sequence(tag, sequence, flow_style=True)


class _DuplicateKey(Exception):
    """A mapping gives a key twice."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where PyYAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise _DuplicateKey(f"{key!r} comes twice (line {key_node.start_mark.line + 1})")
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _named(name: Any, origin: str = "") -> "Recipe":
    """The built-in recipe of this name."""
    from datm.recipes import recipe

    try:
        return recipe(str(name))
    except InputError as error:
        raise InputError(f"{origin}{error}") from error


def _recipe_class() -> type["Recipe"]:
    from datm.recipes import Recipe

    return Recipe
