"""The command `datm`: parse, call the pipeline, print. No logic of its own.

Exit codes: 0 done, 1 a bug (with its traceback), 2 bad input (one sentence on stderr), 130 Ctrl-C.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from datm import __version__
from datm.errors import InputError
from datm.runtime.allocator import use_huge_pages

COMMANDS = {
    "recipes": "list the recipes, or show one's settings",
    "run": "teach, distil, evaluate and report into one run folder; continues what was begun",
    "plan": "time, memory and disk that `run` would take here, before anything is spent",
    "teach": "train the teachers and keep their trajectories",
    "distill": "distil the data set by matching the teachers' trajectories",
    "evaluate": "train fresh networks on the distilled set, random images and all images",
    "report": "write report.html from what a run folder holds",
}
# the options that only some of the commands have
ONLY = {
    "trajectories": ("run", "distill", "plan"),
    "distilled": ("run", "evaluate"),
    "json": ("plan",),
}
# what `datm evaluate` may call two of its settings
SHORT = {"evaluate.models": ("--models",), "evaluate.seeds": ("--seeds",)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's own). Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    use_huge_pages()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except InputError as error:
        print("datm: " + " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        plan = _command(arguments) == "plan"
        said = "stopped" if plan else "saved; run the same command again to continue"
        print(f"\n{said}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `datm recipes | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _command(arguments: list[str]) -> str | None:
    return next((a for a in arguments if not a.startswith("-")), None)


def _dispatch(arguments: list[str]) -> int:
    command = _command(arguments)
    if command is not None and command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"give one of {', '.join(COMMANDS)}."
        raise InputError(f"{command!r} is no command; {hint}")
    parser = _parser(command)
    options, extra = parser.parse_known_args(arguments)
    if extra:
        raise InputError(_unexpected(extra[0], command, options))
    if command is None:
        parser.print_help()
        return 0
    given = vars(options)
    overrides = {
        name[1:]: text for name, text in given.items() if name.startswith("=") and text is not None
    }
    if command == "recipes":
        return _recipes(options.recipe)
    if command == "report":
        return _report(options.recipe)
    if command == "plan":
        return _plan(options, overrides)
    return _run(command, options, overrides)


def _recipes(name: str | None) -> int:
    from datm.listing import recipes_text

    print(recipes_text(name), end="")
    return 0


def _report(run: str) -> int:
    from datm.listing import results_text
    from datm.reporting import report

    print(results_text(report(Path(run)).parent))
    return 0


def _plan(options: argparse.Namespace, overrides: dict[str, str]) -> int:
    import json

    from datm import pipeline
    from datm.planning import make_plan, plan_text
    from datm.runtime.logs import make_console

    recipe, home = pipeline.find_recipe(options.recipe, overrides, options.method)
    out = Path(options.out) if options.out else None
    out = out or home or pipeline.default_folder(recipe, options.smoke)
    # Progress goes to stderr: the plan alone is the output.
    with make_console(sys.stderr) as console:
        plan = make_plan(
            recipe,
            out,
            smoke=options.smoke,
            trajectories=options.trajectories,
            console=console,
        )
    print(json.dumps(plan.plain(), indent=1) if options.json else plan_text(plan))
    return 0


def _run(command: str, options: argparse.Namespace, overrides: dict[str, str]) -> int:
    from datm import pipeline
    from datm.listing import results_text
    from datm.runtime.logs import make_console

    recipe, home = pipeline.find_recipe(options.recipe, overrides, options.method)
    default = home or pipeline.default_folder(recipe, options.smoke)
    out = Path(options.out) if options.out else default
    with make_console() as console:
        pipeline.run(
            recipe,
            out,
            smoke=options.smoke,
            console=console,
            trajectories=getattr(options, "trajectories", None),
            distilled=getattr(options, "distilled", None),
            stages=[stage for stage in pipeline.STAGES if command in ("run", stage)],
        )
    print(results_text(out, reported=command == "run"))
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser that raises InputError instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        text = message.removeprefix("argument ")
        raise InputError(f"{text}; `{self.prog} --help` shows how.")


class _Once(argparse.Action):
    """Stores an option's text and refuses to be given twice."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest, None) is not None:
            raise InputError(f"{option_string}: is given twice; give it once.")
        setattr(namespace, self.dest, values)


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser; only `command`'s own options are made, as the settings take a while to import."""
    parser = _Parser(
        prog="datm",
        description="Lossless dataset distillation by difficulty-aligned trajectory matching.",
        epilog="`datm COMMAND --help` says more of each; `datm run --help` lists every setting.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"datm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=f"{text}.", allow_abbrev=False)
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
        if name == command:
            _add_arguments(sub, name)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    if command == "recipes":
        parser.add_argument(
            "recipe",
            nargs="?",
            metavar="NAME",
            help="show one recipe's settings, or those with NAME in their name or source",
        )
        return
    if command == "report":
        parser.add_argument("recipe", metavar="RUN", help="a run folder")
        return
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a recipe's name, a YAML file or a run folder"
    )
    add = parser.add_argument
    add("--out", action=_Once, metavar="DIR", help="the run folder (default: runs/<name>)")
    add(
        "--method",
        action=_Once,
        metavar="NAME",
        help="the recipe under a published method: mtt, ftd, tesla, datm or pad",
    )
    add(
        "--smoke",
        action="store_true",
        help="few images, teachers, epochs and iterations: does it work here? about a minute a "
        "stage, in runs/<name>-smoke",
    )
    if command in ONLY["trajectories"]:
        add("--trajectories", action=_Once, metavar="DIR", help="use the teachers in this folder")
    if command in ONLY["distilled"]:
        add("--distilled", action=_Once, metavar="DIR", help="use the distilled set in this folder")
    if command in ONLY["json"]:
        add("--json", action="store_true", help="print JSON; seconds and bytes")
    _add_settings(parser, command)


def _add_settings(parser: argparse.ArgumentParser, command: str) -> None:
    """An option for every setting, in groups."""
    from datm.config import fields
    from datm.config.fields import SHORTHANDS
    from datm.config.validate import shown

    parser.usage = f"{parser.prog} RECIPE [--OPTION VALUE | --SETTING VALUE] ..."
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in fields():
        group, _, leaf = field.name.rpartition(".")
        if group not in groups:
            title = f"settings: {group}" if group else "settings"
            groups[group] = parser.add_argument_group(title)
        default = "required" if field.required else f"default {shown(field.default)}"
        names = [f"--{field.name}", *(SHORT.get(field.name, ()) if command == "evaluate" else ())]
        text = f"{field.description} [{field.type}; {default}]".strip()
        groups[group].add_argument(
            *names,
            action=_Once,
            dest=f"={field.name}",
            metavar=(leaf or field.name).upper(),
            help=text.replace("%", "%%"),
        )
    for short, name in SHORTHANDS.items():
        add = groups[name.rpartition(".")[0]].add_argument
        add(f"--{short}", action=_Once, dest=f"={short}", metavar="X", help=f"short for --{name} X")


def _unexpected(argument: str, command: str | None, options: argparse.Namespace) -> str:
    """The sentence for an argument that nothing takes."""
    if not argument.startswith("--"):
        return f"{argument!r}: there is no place for it; `datm {command} --help` shows how."
    name = argument[2:].partition("=")[0]
    if command and name in ONLY:
        theirs = ", ".join(f"`datm {other}`" for other in ONLY[name])
        return f"--{name}: is an option of {theirs}, not of `datm {command}`; leave it out."
    others = [key for key in vars(options) if not key.startswith("=") and key != "recipe"]
    if command in (None, "recipes", "report"):
        prog = f"datm {command}" if command else "datm"
        return f"--{name}: there is no such option; `{prog} --help` lists all."
    from datm.config import fields, unknown_name

    return unknown_name(name, fields(), others, dashes="--")
