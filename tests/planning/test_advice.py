"""What the plan advises does what it says: taken, the run fits, and a little more would not."""

import re
from dataclasses import replace

import pytest
import torch
from plans import CONVNET_3, PARAMETERS, costs_of, outline_of

from datm.config import load_config
from datm.planning.advice import Room, hints, problems
from datm.planning.outline import Outline
from datm.planning.plan import needs_of
from datm.recipes import Recipe
from datm.runtime.device import Runtime

PLENTY = Room(host=10**15, device=None, disk=10**15)
BASE = 10**9


def needs(outline: Outline, cuda: bool = False) -> list:
    costs = costs_of(outline)
    return needs_of(outline, {CONVNET_3: PARAMETERS}, costs, BASE, cuda)


def said(recipe: Recipe, room: Room, cuda: bool = False, **changes) -> list[str]:
    outline = outline_of(recipe, **changes)
    return problems(outline, needs(outline, cuda), room, PARAMETERS)


def option_in(text: str) -> tuple[str, int]:
    """The first option of a sentence, with its number."""
    name, number = re.findall(r"--([\w.]+) (\d+)", text)[0]
    return name, int(number)


def with_option(name: str, value: int) -> Recipe:
    return load_config("cifar10-ipc50", {"precision": "float32", name: str(value)})


RECIPE = load_config("cifar10-ipc50", {"precision": "float32"})


def test_nothing_is_said_where_it_fits() -> None:
    assert said(RECIPE, PLENTY) == []


def test_the_teachers_that_would_fit_on_the_disk() -> None:
    room = replace(PLENTY, disk=5 * 10**9)
    (text,) = said(RECIPE, room)
    assert text.startswith("disk: 13.")
    name, count = option_in(text)
    assert name == "teach.teachers"
    assert said(with_option(name, count), room) == []
    assert said(with_option(name, count + 1), room) != []


def test_no_number_of_teachers_fits() -> None:
    (text,) = said(RECIPE, replace(PLENTY, disk=10**6))
    assert "--teach.teachers" not in text
    assert "--out" in text


def _small(stage: str, cuda: bool) -> int:
    """Less than a stage needs, but more than the other stages."""
    by_stage = {n.stage: (n.device if cuda else n.host) for n in needs(outline_of(RECIPE), cuda)}
    others = max(value for name, value in by_stage.items() if name != stage)
    assert by_stage[stage] > others
    return (by_stage[stage] + others) // 2


@pytest.mark.parametrize("cuda", [False, True])
def test_the_batch_that_would_fit(cuda: bool) -> None:
    small = _small("distil", cuda)
    room = replace(PLENTY, device=small) if cuda else replace(PLENTY, host=small)
    (text,) = said(RECIPE, room, cuda)
    assert text.startswith("distil: ")
    assert ("device memory" in text) == cuda
    assert "an inner step on 500 images" in text
    name, batch = option_in(text)
    assert name == "match.batch"
    assert "--precision bfloat16" in text
    assert said(with_option(name, batch), room, cuda) == []
    # One or two images more no longer fit: the advice is no smaller than it has to be.
    assert said(with_option(name, batch + 2), room, cuda) != []


def test_unrolled_is_told_to_be_exact() -> None:
    recipe = load_config("cifar10-ipc50", {"match.gradient": "unrolled"})
    (text, *_) = said(recipe, replace(PLENTY, host=_small("distil", False)))
    assert "--match.gradient exact" in text


def test_where_the_images_alone_are_too_many() -> None:
    found = said(RECIPE, replace(PLENTY, host=BASE + 10**8))
    assert found
    assert all("--data.size" in text for text in found)


def test_side_by_side_is_given_up_first() -> None:
    recipe = load_config("cifar10-ipc50", {"side_by_side": "8", "match.segments": "8"})
    found = said(recipe, replace(PLENTY, host=BASE + 30 * 10**9))
    assert any("--side_by_side 1" in text for text in found)


def test_a_short_run_gets_no_hints() -> None:
    outline = outline_of(RECIPE)
    costs = costs_of(outline, seconds=1e-9)
    found = needs_of(outline, {CONVNET_3: PARAMETERS}, costs, BASE, False)
    assert hints(outline, found, costs) == []


@pytest.mark.parametrize(
    ("stage", "seldom"),
    [
        ("teach", {"distill.iterations": "1", "evaluate.full_epochs": "1"}),
        ("distil", {"teach.teachers": "1", "evaluate.full_epochs": "1"}),
        ("evaluate", {"teach.teachers": "1", "distill.iterations": "1"}),
    ],
)
def test_the_longest_stage_is_named_with_what_would_shorten_it(
    stage: str, seldom: dict[str, str]
) -> None:
    recipe = load_config("cifar10-ipc10", {**seldom, "device": "cpu", "precision": "float32"})
    outline = outline_of(recipe)
    costs = costs_of(outline, seconds=0.1)
    text = " ".join(
        hints(outline, needs_of(outline, {CONVNET_3: PARAMETERS}, costs, BASE, False), costs)
    )
    assert f"for {stage}." in text
    assert f"would make {stage} " in text
    for words in ("--precision bfloat16", "a GPU"):
        assert words in text
    assert ("--trajectories" in text) == (stage == "teach")


@pytest.mark.parametrize(
    ("segments", "teachers", "said"), [(1, 1, False), (4, 1, True), (1, 100, True)]
)
def test_side_by_side_is_for_a_gpu_where_there_are_several(
    segments: int, teachers: int, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "torch_device", lambda _: torch.device("cuda"))
    few = {"evaluate.full_epochs": "1", "teach.teachers": str(teachers)}
    few |= {"distill.iterations": "1"} if teachers > 1 else {}
    recipe = load_config("cifar10-ipc10", {**few, "match.segments": str(segments)})
    outline = outline_of(recipe)
    costs = costs_of(outline, seconds=0.1)
    needed = needs_of(outline, {CONVNET_3: PARAMETERS}, costs, BASE, False)
    text = " ".join(hints(outline, needed, costs))
    assert f"for {'teach' if teachers > 1 else 'distil'}." in text
    assert ("--side_by_side 4" in text) == said


@pytest.mark.parametrize("share", ["0", "1"])
def test_epochs_after_the_last_segment_are_named_where_there_are_segments(share: str) -> None:
    seldom = {"distill.iterations": "1", "evaluate.full_epochs": "1", "match.data_share": share}
    outline = outline_of(load_config("cifar10-ipc10", {**seldom, "device": "cpu"}))
    costs = costs_of(outline, seconds=0.1)
    needed = needs_of(outline, {CONVNET_3: PARAMETERS}, costs, BASE, False)
    text = " ".join(hints(outline, needed, costs))
    assert "for teach." in text
    assert ("where the last segment ends" in text) == (share == "0")
