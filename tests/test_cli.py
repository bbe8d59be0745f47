"""The command line: exit codes, one-sentence refusals, help, Ctrl-C."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datm
from datm.cli import COMMANDS, main
from datm.config import fields, load_config
from datm.recipes import RECIPES
from datm.runtime.files import load_tensors
from mini import mini_arguments, mini_recipe

Refusal = Callable[..., str]


@pytest.fixture
def refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Refusal:
    """Runs a command line that must exit with 2 and gives the one line it printed on stderr."""
    monkeypatch.chdir(tmp_path)  # away from runs/ of one's own

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == 2
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("datm: ")
        assert lines[0].endswith((".", "?"))
        assert not re.search("teach:|distil:|evaluate", captured.out)  # nothing was begun
        return lines[0].removeprefix("datm: ")

    return run


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """`python -m datm` in a process of its own, in `folder`."""
    source = str(Path(datm.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "datm", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A child of a background job ignores Ctrl-C unless told otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def class_folders(root: Path, classes: dict[str, int], split: str = "train") -> Path:
    """Grey 8x8 PNGs: `classes` says how many of each."""
    values = np.random.default_rng(0)
    for name, count in classes.items():
        folder = root / split / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = values.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


# --- wrong inputs ---------------------------------------------------------------------------


def test_a_missing_folder(refused: Refusal, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert str(missing) in refused("run", "digits", "--data", str(missing))


def test_an_empty_class(refused: Refusal, tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", {"cat": 4, "dog": 0})
    class_folders(data, {"cat": 2, "dog": 2}, "test")
    assert "dog" in refused("run", "digits", "--data", str(data), "--ipc", "1")


def test_one_class(refused: Refusal, tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", {"cat": 4})
    class_folders(data, {"cat": 2}, "test")
    assert "cat" in refused("run", "digits", "--data", str(data), "--ipc", "1")


def test_a_corrupt_image(refused: Refusal, tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", {"cat": 4, "dog": 4})
    class_folders(data, {"cat": 2, "dog": 2}, "test")
    broken = data / "train" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert str(broken) in refused("run", "digits", "--data", str(data), "--ipc", "1")


def test_an_unknown_recipe_and_a_missing_file(refused: Refusal, tmp_path: Path) -> None:
    assert "'digts' is not known; did you mean 'digits'?" in refused("run", "digts")
    assert "'zzz' is not known; `datm recipes` lists all " in refused("run", "zzz")
    assert "there is no such file" in refused("run", str(tmp_path / "my.yaml"))
    assert "without a config.yaml" in refused("teach", str(tmp_path))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--distill.iteration=5", "--distill.iteration: there is no such setting; did you mean "),
        ("--iterations=5", "did you mean --distill.iterations or "),
        ("--distill.ipc=5", "did you mean --ipc?"),
        ("--runtime.device=cpu", "did you mean --device?"),
        ("--smok", "did you mean --smoke?"),
        ("--distill.iterations=abc", "distill.iterations: 'abc' is not a whole number; give an"),
        ("--match.gradient=teslaa", "did you mean 'tesla'?"),
        ("--match.lower=50", "match: lower 50, first_upper"),
        ("--teach.augmentation=blur", "teach.augmentation: 'blur'"),
        ("--ipc", "--ipc: expected one argument"),
        ("extra", "'extra': there is no place for it"),
    ],
)
def test_a_misspelt_override(refused: Refusal, option: str, sentence: str) -> None:
    assert sentence in refused("run", "digits", option)


@pytest.mark.parametrize(
    ("command", "option", "theirs"),
    [
        ("evaluate", "--trajectories=t", "`datm run`, `datm distill`, `datm plan`"),
        ("distill", "--distilled=d", "`datm run`, `datm evaluate`"),
        ("report", "--json", "`datm plan`"),
    ],
)
def test_an_option_of_other_commands(
    refused: Refusal, command: str, option: str, theirs: str
) -> None:
    name = option.partition("=")[0]
    assert refused(command, "digits", option) == (
        f"{name}: is an option of {theirs}, not of `datm {command}`; leave it out."
    )


def test_options_given_twice(refused: Refusal) -> None:
    assert (
        refused("run", "digits", "--ipc", "3", "--ipc=3") == "--ipc: is given twice; give it once."
    )
    assert "--out: is given twice" in refused("run", "digits", "--out", "a", "--out", "a")
    assert "data.source: is given twice" in refused(
        "run", "digits", "--data", "digits", "--data.source", "digits"
    )
    assert "is given twice" in refused("evaluate", "digits", "--seeds=1", "--evaluate.seeds=1")


def test_trajectories_of_another_network(refused: Refusal, tmp_path: Path) -> None:
    datm.teach(
        datm.load_data("digits"),
        mini_recipe(teach__epochs="3", teach__teachers="1").teach,
        out=tmp_path / "trajectories",
    )
    arguments = mini_arguments(network="convnet-1,width=5", teach__epochs="3")
    out = tmp_path / "out"
    given = ["--trajectories", str(tmp_path / "trajectories"), "--out", str(out)]
    message = refused("distill", "digits", *arguments, *given)
    assert "its teachers are convnet-1,width=4" in message
    assert "this recipe's network is convnet-1,width=5" in message
    assert not out.exists()


def test_more_images_than_a_class_has(refused: Refusal, tmp_path: Path) -> None:
    message = refused("run", "digits", "--ipc", "500", "--out", str(tmp_path / "out"))
    assert message.startswith("ipc: 500 images per class were asked for, but the largest class")
    assert not (tmp_path / "out").exists()


def test_an_out_that_cannot_be_written(refused: Refusal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        message = refused("run", "digits", *mini_arguments(), "--out", str(out))
        assert "because" in message
        assert "is a file" in message
    assert (tmp_path / "file").read_text() == "precious"
    if Path("/proc/self").is_dir():
        message = refused("run", "digits", *mini_arguments(), "--out", "/proc/datm/run")
        assert "/proc/datm/run: cannot be written" in message


def test_nothing_to_report(refused: Refusal, tmp_path: Path) -> None:
    assert str(tmp_path) in refused("report", str(tmp_path))
    assert str(tmp_path / "none") in refused("report", str(tmp_path / "none"))


def test_unknown_commands_and_options(refused: Refusal) -> None:
    assert refused("runn") == "'runn' is no command; did you mean 'run'?"
    assert "give one of recipes, run" in refused("zzz")
    assert "--foo: there is no such option" in refused("--foo")
    assert "--foo: there is no such option" in refused("recipes", "--foo")
    assert "RECIPE" in refused("run")


def test_python_dash_m_refuses_with_2_and_without_a_traceback(tmp_path: Path) -> None:
    process = start("run", "digits", "--ipcs", "3", folder=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert (out, err) == ("", "datm: --ipcs: there is no such setting; did you mean --ipc?\n")
    assert os.listdir(tmp_path) == []


# --- what is printed ------------------------------------------------------------------------


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in fields():
        assert f"--{field.name} " in text
        assert " ".join(field.description.split()) in text, field.name
    for option in ("--out", "--smoke", "--trajectories", "--distilled", "--data X"):
        assert option in text
    assert "default 256" in text


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        try:
            assert main(arguments) == 0
        except SystemExit as stop:
            assert stop.code == 0  # noqa: PT017
        text = capsys.readouterr().out
        assert all(re.search(rf"^ +{name} ", text, re.MULTILINE) for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"datm {datm.__version__}\n"


def test_recipes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.findall(r"^  ([a-z]\S*)", "\n".join(lines[2:]), re.MULTILINE) == list(RECIPES)
    assert main(["recipes", "cifar10-ipc1"]) == 0
    path = tmp_path / "shown.yaml"
    path.write_text(capsys.readouterr().out)
    assert load_config(path) == RECIPES["cifar10-ipc1"].recipe
    assert main(["recipes", "cifarr"]) == 2


def test_a_run_in_stages_ends_in_the_table_and_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["teach", "digits", *mini_arguments(name="mine")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Run folder: runs/mine"
    assert main(["distill", "runs/mine"]) == 0
    assert main(["evaluate", "runs/mine", "--models", "convnet-1,width=4", "--seeds", "1"]) == 0
    assert load_config("runs/mine/config.yaml").evaluate.seeds == 1
    assert main(["report", "runs/mine"]) == 0
    capsys.readouterr()
    assert main(["run", "runs/mine/config.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines[:3]] == [
        "teach: complete",
        "distil: complete",
        "evaluate: complete",
    ]
    assert any(line.startswith("distilled ") for line in lines)
    assert any(line.startswith(("Lossless here", "Not lossless here")) for line in lines)
    assert lines[-1] == "Report: runs/mine/report.html"
    assert main(["evaluate", "runs/mine", "--evaluate.seeds", "2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Run folder: runs/mine (`datm report runs/mine` brings its report up to date)"


# --- Ctrl-C ---------------------------------------------------------------------------------


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read stdout up to a line that contains `text`."""
    assert process.stdout is not None
    seen, end = "", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([process.stdout], [], [], 1)[0]:
            line = process.stdout.readline()
            seen += line
            if text in line:
                return seen
            if not line:
                break
    raise AssertionError(
        f"no {text!r} in {seen!r}; stderr: {process.stderr and process.stderr.read()}"
    )


def test_ctrl_c_exits_130_and_the_same_command_continues_to_the_same_bits(tmp_path: Path) -> None:
    settings = mini_arguments(
        distill__iterations="150", distill__validate_every="75", distill__checkpoint_every="1000"
    )
    process = start("run", "digits", *settings, "--out", "stopped", folder=tmp_path)
    wait_for(process, "distil:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err == "\nsaved; run the same command again to continue\n"
    assert not (tmp_path / "stopped" / "distilled" / "distilled.json").exists()
    for out in ("stopped", "whole"):
        assert main(["run", "digits", *settings, "--out", str(tmp_path / out)]) == 0
    one, other = (
        load_tensors(tmp_path / out / "distilled" / "last.safetensors")
        for out in ("stopped", "whole")
    )
    assert all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.parametrize("module", ["numpy.exceptions", "numpy.linalg", "torch.nn"])
def test_ctrl_c_while_libraries_are_imported_ends_the_command(module: str, tmp_path: Path) -> None:
    """PyTorch's C code imports NumPy and would swallow it, and leave NumPy half imported."""
    script = """
import importlib.abc, signal, sys
class Impatient(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Impatient())
from datm.cli import main
sys.exit(main(["run", "digits", "--smoke", "--out", sys.argv[2]]))
"""
    command = [sys.executable, "-c", script, module, str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(Path(datm.__file__).parents[1])}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert ended.returncode in (-signal.SIGINT, 130), ended.stderr
    assert not (tmp_path / "run").exists()
