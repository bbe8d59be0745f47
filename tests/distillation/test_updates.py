"""What a matching gradient does to images, labels and step size.

Gradients are handed to the loop here, so that the updates can be told apart from the matching.
Letters: S images, K classes.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datm.data import DataSet
from datm.distillation import DistillConfig, DistilledSet, distill, job, loop
from datm.errors import InputError
from datm.matching import MatchGradient
from datm.runtime.files import load_tensors, read_json_lines
from datm.runtime.logs import QUIET, Console
from datm.runtime.seeds import generator
from datm.teaching import Trajectories
from small_jobs import DISTILL

CONFIG = replace(
    DISTILL,
    iterations=9,
    validate_every=100,
    validate_epochs=1,
    images_lr=3.0,
    labels_lr=0.7,
    step_size_lr=0.002,
    images_momentum=0.5,
    labels_momentum=0.9,
    step_size_momentum=0.3,
    threshold=1.0,
)
NAMES = "images", "logits", "step_size"


def made_up(call: int, images: Tensor, logits: Tensor, loss: float = 0.5) -> MatchGradient:
    """The gradient that the loop is given at its `call`-th matching."""
    draw = generator(call, "gradient")
    return MatchGradient(
        torch.tensor(loss),
        torch.randn(images.shape, generator=draw),
        torch.randn(logits.shape, generator=draw),
        torch.randn((), generator=draw),
        torch.zeros(1),
    )


class Given:
    """Stands in for `match_gradient`; `alter` changes the gradient of some calls."""

    def __init__(self, alter: Callable[[int, MatchGradient], MatchGradient] | None = None) -> None:
        self.alter = alter
        self.calls = 0
        self.given: list[MatchGradient] = []

    def __call__(self, *arguments: Any) -> MatchGradient:
        gradient = made_up(self.calls, arguments[3], arguments[4])
        if self.alter:
            gradient = self.alter(self.calls, gradient)
        self.calls += 1
        self.given.append(gradient)
        return gradient


def iterates(
    monkeypatch: pytest.MonkeyPatch,
    data: DataSet,
    teachers: Trajectories,
    out: Path,
    config: DistillConfig,
    given: Given,
    console: Console = QUIET,
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, Any]]]:
    """The first iterate, the last one and the lines of metrics.jsonl."""
    monkeypatch.setattr(job, "match_gradient", given)
    distill(data, teachers, config, out=out, console=console)
    first = load_tensors(out / "distilled" / "initial.safetensors")
    last = load_tensors(out / "distilled" / "last.safetensors")
    lines = [line for line in read_json_lines(out / "metrics.jsonl") if "loss" in line]
    return first, last, lines


def by_torch(
    first: dict[str, Tensor], config: DistillConfig, gradients: list[MatchGradient]
) -> dict[str, Tensor]:
    """torch.optim with three parameter groups on the same gradients."""
    values = {name: first[name].clone().requires_grad_() for name in NAMES}
    rates = config.images_lr, config.labels_lr, config.step_size_lr
    momenta = config.images_momentum, config.labels_momentum, config.step_size_momentum
    groups = [
        {"params": [values[name]], "lr": rate, "momentum": momentum, "betas": (momentum, 0.99)}
        for name, rate, momentum in zip(NAMES, rates, momenta, strict=True)
    ]
    optimiser: torch.optim.Optimizer = torch.optim.SGD(groups)
    if config.optimiser == "adam":
        optimiser = torch.optim.Adam(groups, eps=1e-12)
    for gradient in gradients:
        for name in NAMES:
            values[name].grad = getattr(gradient, f"{name}_grad").clone()
        optimiser.step()
        with torch.no_grad():
            values["step_size"].clamp_(min=config.smallest_step_size)
    return {name: value.detach() for name, value in values.items()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_updates_are_those_of_torch_optim(
    optimiser: str,
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = Given()
    config = replace(CONFIG, optimiser=optimiser)
    first, last, lines = iterates(monkeypatch, digits, teachers, tmp_path, config, given)
    assert_close(last, by_torch(first, config, given.given))
    assert (last["images"] - first["images"]).norm() > 10
    for line, gradient in zip(lines, given.given, strict=True):
        assert line["images_grad_norm"] == pytest.approx(float(gradient.images_grad.norm()))
        assert line["logits_grad_norm"] == pytest.approx(float(gradient.logits_grad.norm()))
        assert line["step_size_grad"] == pytest.approx(float(gradient.step_size_grad))
        assert line["skipped"] is False
    assert lines[-1]["step_size"] == pytest.approx(float(last["step_size"]))


def test_the_step_size_stays_above_its_floor(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(call: int, gradient: MatchGradient) -> MatchGradient:
        return replace(gradient, step_size_grad=torch.tensor(1e6 if call < 5 else -30.0))

    config = replace(CONFIG, smallest_step_size=0.004, validate_every=1)
    given = Given(steep)
    first, last, lines = iterates(monkeypatch, digits, teachers, tmp_path, config, given)
    assert [line["step_size"] for line in lines[:5]] == pytest.approx([0.004] * 5)
    assert_close(last, by_torch(first, config, given.given))


BAD = {
    "loss above the threshold": {"loss": torch.tensor(1.0001)},
    "loss not a number": {"loss": torch.tensor(math.nan)},
    "loss infinite": {"loss": torch.tensor(math.inf)},
    "images_grad": {"images_grad": math.nan},
    "logits_grad": {"logits_grad": math.inf},
    "step_size_grad": {"step_size_grad": torch.tensor(-math.inf)},
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_usable_gradient_changes_nothing(
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
) -> None:
    def alter(call: int, gradient: MatchGradient) -> MatchGradient:
        if call not in (2, 3, 8):
            return replace(gradient, loss=torch.tensor(1.0))  # the threshold itself is allowed
        changed = dict(BAD[bad])
        for name, value in changed.items():
            if isinstance(value, float):
                tensor = getattr(gradient, name).clone()
                tensor[-1].flatten()[-1:] = value
                changed[name] = tensor
        return replace(gradient, **changed)

    given = Given(alter)
    first, last, lines = iterates(monkeypatch, digits, teachers, tmp_path, CONFIG, given)
    used = [gradient for call, gradient in enumerate(given.given) if call not in (2, 3, 8)]
    assert_close(last, by_torch(first, CONFIG, used))
    assert [line["iteration"] for line in lines if line["skipped"]] == [3, 4, 9]
    assert all(line["images_grad_norm"] is None for line in lines if line["skipped"])
    assert len({line["step_size"] for line in lines[1:4]}) == 1


def test_skips_without_end_are_an_error_and_nothing_is_lost(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SKIPS_ALLOWED", 4)

    def alter(call: int, gradient: MatchGradient) -> MatchGradient:
        fine = call < 2 or call == 5  # three bad ones are forgiven once a good one follows
        return gradient if fine else replace(gradient, loss=torch.tensor(7.0))

    with pytest.raises(InputError, match=r"5 iterations in a row .* threshold 1\.0 \(last: 7\)"):
        iterates(
            monkeypatch, digits, teachers, tmp_path, replace(CONFIG, iterations=50), Given(alter)
        )
    lines = [line for line in read_json_lines(tmp_path / "metrics.jsonl") if "loss" in line]
    assert [line["skipped"] for line in lines] == [False] * 2 + [True] * 3 + [False] + [True] * 4
    state = load_tensors(tmp_path / "checkpoint" / "state.safetensors")
    assert float(state["step_size"]) == pytest.approx(lines[5]["step_size"])


def test_several_segments_are_averaged_without_those_above_the_threshold(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alter(call: int, gradient: MatchGradient) -> MatchGradient:
        return replace(gradient, loss=torch.tensor([0.25, 0.75, 1.5][(call + call // 6) % 3]))

    config = replace(CONFIG, match=replace(CONFIG.match, segments=2))
    given = Given(alter)
    first, last, lines = iterates(monkeypatch, digits, teachers, tmp_path, config, given)
    assert given.calls == 18
    means, kinds = [], set()
    for iteration in range(9):
        pair = given.given[2 * iteration : 2 * iteration + 2]
        losses = [float(gradient.loss) for gradient in pair]
        assert lines[iteration]["loss"] == pytest.approx(sum(losses) / 2)
        assert [segment[2] for segment in lines[iteration]["segments"]] == pytest.approx(losses)
        used = [gradient for gradient in pair if gradient.loss <= 1]
        kinds.add(len(used))
        mean = {
            f"{name}_grad": torch.stack([getattr(g, f"{name}_grad") for g in used]).mean(0)
            for name in NAMES
        }
        means.append(replace(pair[0], **mean))
    assert kinds == {1, 2}
    assert_close(last, by_torch(first, config, means))


def test_the_loop_matches_what_its_log_says(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments, batches and start values reach `match_gradient` as they are recorded."""
    real = job.match_gradient
    seen: list[Any] = []

    def spying(*arguments: Any) -> MatchGradient:
        seen.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(job, "match_gradient", spying)
    match = replace(
        CONFIG.match, segments=2, first_upper=1, last_upper=3, expansion=6, teacher_epochs=2
    )
    made = distill(digits, teachers, replace(CONFIG, match=match), out=tmp_path)
    lines = [line for line in read_json_lines(tmp_path / "metrics.jsonl") if "loss" in line]
    assert [line["upper_epoch"] for line in lines] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    segments = [segment for line in lines for segment in line["segments"]]
    for arguments, (teacher, start, loss) in zip(seen, segments, strict=True):
        assert torch.equal(arguments[1], teachers.weights(teacher, start))
        assert torch.equal(arguments[2], teachers.weights(teacher, start + 2))
        assert arguments[6].shape == (3, 6)
        assert float(real(*arguments).loss) == pytest.approx(loss, rel=1e-6)
    assert {start for _, start, _ in segments} == {0, 1, 2}
    assert {teacher for teacher, _, _ in segments} == {0, 1}
    batches = torch.stack([arguments[6] for arguments in seen])
    assert len(batches.unique(dim=0)) == 18  # every segment draws its own
    assert isinstance(made, DistilledSet)
