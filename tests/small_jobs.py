"""Jobs on a few digits that take well under a second, and what tests compare them by."""

import hashlib
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datm.data import DataSet, Split, load_data
from datm.distillation import DistillConfig, job
from datm.matching import MatchConfig, MatchGradient, match_gradient
from datm.networks import ConvNet, make_network
from datm.runtime.logs import Console
from datm.teaching import TeachConfig

NETWORK = "convnet-1,width=4"
AUGMENTATION = "crop_scale_rotate"

TEACH = TeachConfig(
    network=NETWORK,
    teachers=2,
    epochs=4,
    batch=30,
    learning_rate=0.05,
    augmentation=AUGMENTATION,
)

DISTILL = DistillConfig(
    ipc=1,
    match=MatchConfig(inner_steps=3, teacher_epochs=1, batch=6, last_upper=3),
    iterations=6,
    initial="any",
    step_size=0.1,
    images_lr=20,
    labels_lr=5,
    step_size_lr=1e-3,
    threshold=2.0,
    validate_every=3,
    validate_epochs=15,
    checkpoint_every=2,
)


INITIAL = make_network(NETWORK, (1, 8, 8), 10).initial
"""Fresh weights of the network above, on digits."""


class Recorded:
    """The arguments of every gradient that a distillation asks for from now on, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        signature = inspect.signature(match_gradient)

        def recorded(*arguments: Any) -> MatchGradient:
            self.calls.append(signature.bind(*arguments).arguments)
            return match_gradient(*arguments)

        monkeypatch.setattr(job, "match_gradient", recorded)

    def each(self, name: str) -> list[Any]:
        return [call[name] for call in self.calls]


def small_digits(train: int = 10, held_out: int = 3) -> DataSet:
    """Digits with `train` training and `held_out` validation and test images of each class."""
    data = load_data("digits")
    return replace(
        data,
        train=_few(data.train, train),
        validation=_few(data.validation, held_out),
        test=_few(data.test, held_out),
    )


def _few(split: Split, count: int) -> Split:
    rows = [(split.labels == k).nonzero().flatten()[:count] for k in range(10)]
    return split.select(torch.cat(rows).sort().values)


def reference_module(network: ConvNet, params: Tensor) -> nn.Sequential:
    """The network made of torch's own layers, holding `params` [P]."""
    layers: list[nn.Module] = []
    channels, width = network.shape[0], network.width
    for _ in range(network.depth):
        norm = nn.GroupNorm(width, width) if network.norm == "instance" else nn.BatchNorm2d(width)
        layers += [nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU(), nn.AvgPool2d(2)]
        channels = width
    side = network.shape[1] >> network.depth, network.shape[2] >> network.depth
    layers += [nn.Flatten(), nn.Linear(width * side[0] * side[1], network.classes)]
    module = nn.Sequential(*layers)
    with torch.no_grad():
        nn.utils.vector_to_parameters(params.clone(), module.parameters())
    return module


def flat(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with the hash of its bytes; TensorBoard's events left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tensorboard" not in path.parts
    }


class Interrupt(Console):
    """Presses Ctrl-C at the `at`-th advance (from 1)."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def advance(self, done: int, **figures: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def kill_when(script: str, ready: Callable[[], bool], *arguments: object) -> None:
    """Run `script` as a Python program and send it SIGKILL once `ready()`."""
    tests, source = Path(__file__).parent, Path(__file__).parents[1] / "src"
    path = os.pathsep.join([str(tests), str(source), os.environ.get("PYTHONPATH", "")])
    program = "import torch; torch.set_num_threads(1)\n" + script
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
    )
    try:
        while not ready():
            # It must be caught alive: a job that ends by itself shows nothing.
            assert child.poll() is None, child.communicate()[1].decode()
            time.sleep(0.0005)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGKILL


class Steps(Console):
    """Keeps where a stage began and the steps it counted."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def start(self, title: str, total: int, done: int = 0) -> None:
        self.steps.append(done)

    def advance(self, done: int, **figures: Any) -> None:
        self.steps.append(done)
