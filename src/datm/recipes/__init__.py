"""Every recipe by name: the digits demonstrations and the rows of the papers' tables.

A recipe is one record of settings; beside it stands where they come from, what was published for
them and what they cost. A family of recipes is a file; its settings are a table of `Row`s, or
differences from another family's.
"""

import difflib

from datm.errors import InputError
from datm.recipes import (
    cazenavette2022mtt,
    cui2023tesla,
    digits,
    du2023ftd,
    guo2024datm,
    imagenet,
    li2024pad,
    longtail,
    medical,
    short,
)
from datm.recipes.recipe import Entry, Recipe

__all__ = ["RECIPES", "Entry", "Recipe", "recipe"]

FAMILIES = (
    digits,
    short,
    guo2024datm,
    medical,
    imagenet,
    longtail,
    li2024pad,
    cazenavette2022mtt,
    du2023ftd,
    cui2023tesla,
)

RECIPES: dict[str, Entry] = {
    entry.recipe.name: entry for family in FAMILIES for entry in family.ENTRIES
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InputError, with the nearest name, if there is none."""
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, 1)
        every = f"`datm recipes` lists all {len(RECIPES)}."
        hint = f"did you mean {close[0]!r}?" if close else every
        raise InputError(f"recipe: {name!r} is not known; {hint}")
    return RECIPES[name].recipe
