"""The memory that is planned against what the stages take: ConvNet-3 on 32x32 images, B = 60."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datm

SETTINGS = {
    "data.transform": "normalise",
    "device": "cpu",
    "precision": "float32",
    "compile": "false",
    "ipc": "30",
    "teach.teachers": "1",
    "teach.epochs": "1",
    "teach.batch": "60",
    "match.batch": "60",
    "match.inner_steps": "2",
    "match.teacher_epochs": "1",
    "match.first_upper": "none",
    "match.last_upper": "1",
    "match.expansion": "0",
    "distill.iterations": "1",
    "distill.initial": "any",
    "distill.validate_epochs": "1",
    "evaluate.seeds": "1",
    "evaluate.epochs": "1",
    "evaluate.batch": "60",
    "evaluate.full_epochs": "1",
    "evaluate.baselines": "full",
    "evaluate.learning_rates": "0.01",
}


def two_classes(root: Path) -> Path:
    """Colour noise: 34 images of each class to train on, 3 to test."""
    values = np.random.default_rng(0)
    for split, count in (("train", 34), ("test", 3)):
        for name in "ab":
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = values.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def command(name: str, folder: Path, *more: str) -> tuple[str, int]:
    """What `datm NAME` prints, and the most bytes its process had in memory."""
    settings = [f"--{key}={value}" for key, value in SETTINGS.items()]
    source = str(Path(datm.__file__).parents[1])
    with (folder / "printed").open("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "datm", name, "cifar10-ipc10", *settings, *more],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
            stdout=printed,
        )
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        printed.seek(0)
        return printed.read(), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_memory_is_within_thirty_percent(tmp_path: Path) -> None:
    data = two_classes(tmp_path / "data")
    given = ["--data", str(data), "--out", "run"]
    plan = json.loads(command("plan", tmp_path, *given, "--json")[0])
    assert not (tmp_path / "run").exists()
    assert plan["fits"] is True
    planned = {stage["stage"]: stage for stage in plan["stages"]}
    assert planned["distil"]["peak"] == "an inner step on 60 images"
    taken = {}
    for stage in ("teach", "distill", "evaluate"):
        taken[stage] = command(stage, tmp_path, *given)[1]
    found = {stage: planned[stage.replace("ll", "l")]["host"] / taken[stage] for stage in taken}
    assert found == {stage: pytest.approx(1, abs=0.3) for stage in taken}
    # Most of it is activations: a plan of the libraries alone would be far too low.
    assert taken["distill"] > 2 * planned["load"]["host"]
