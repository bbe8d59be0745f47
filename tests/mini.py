"""Digits in miniature: settings with which a whole run takes a second or two."""

from datm.config import load_config
from datm.recipes import Recipe

MINI = {
    "device": "cpu",
    "compile": "false",
    "network": "convnet-1,width=4",
    "ipc": "2",
    "teach.teachers": "2",
    "teach.epochs": "4",
    "match.inner_steps": "2",
    "match.teacher_epochs": "1",
    "match.batch": "10",
    "match.first_upper": "none",
    "match.last_upper": "3",
    "match.expansion": "0",
    "distill.iterations": "4",
    "distill.initial": "any",
    "distill.validate_every": "2",
    "distill.validate_epochs": "2",
    "evaluate.seeds": "2",
    "evaluate.epochs": "3",
    "evaluate.full_epochs": "1",
    "evaluate.learning_rates": "0.01",
    "evaluate.random_multiples": "",
}


def mini_recipe(**changes: str) -> Recipe:
    """The miniature, with `changes`; __ in a name stands for a dot."""
    changed = {name.replace("__", "."): text for name, text in changes.items()}
    return load_config("digits", {**MINI, **changed})


def mini_arguments(**changes: str) -> list[str]:
    """The same as command-line options."""
    changed = {name.replace("__", "."): text for name, text in changes.items()}
    return [f"--{name}={text}" for name, text in {**MINI, **changed}.items()]
