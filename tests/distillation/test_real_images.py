"""Students with fresh weights that are judged on real images: what they are given, and when."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_updates import CONFIG, Given

from datm.batches import BatchStream
from datm.data import DataSet
from datm.distillation import distill, job
from datm.distillation.segments import Segments
from datm.matching import DataLoss, MatchConfig, MatchGradient, on_real_images
from datm.matching.objective import hard_logits
from datm.runtime.device import Runtime
from datm.runtime.files import load_tensors, read_json_lines
from datm.runtime.seeds import generator
from datm.teaching import Trajectories
from small_jobs import DISTILL, INITIAL, Recorded, tree

ALL = replace(DISTILL.match, data_share=1, data_batch=7, data_skip=4)


def test_every_iteration_has_other_real_images_with_their_labels(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Recorded(monkeypatch)
    distill(digits, teachers, replace(DISTILL, match=ALL, iterations=3), out=tmp_path)
    space = digits.transform(digits.train.images)
    drawn = []
    for loss in found.each("target"):
        assert isinstance(loss, DataLoss)
        apart = (loss.images.flatten(1)[:, None] - space.flatten(1)).abs().sum(2)
        rows = apart.argmin(1)
        assert apart.min(1).values.max() < 1e-5
        assert torch.equal(loss.logits, hard_logits(digits.train.labels[rows], 10))
        drawn.append(tuple(rows.tolist()))
    assert len({*drawn}) == 3
    assert all(len(rows) == 7 for rows in drawn)


def test_the_weights_are_fresh_and_the_window_is_random(teachers: Trajectories) -> None:
    """A start of its own for every student; one window for those that advance together."""
    match = replace(ALL, segments=2)
    segments = Segments(teachers, INITIAL, match, 10, 20, seed=0, device=torch.device("cpu"))
    firsts, starts = [], []
    for iteration in range(60):
        draws = segments(iteration)
        assert len({draw.first for draw in draws}) == 1
        for draw in draws:
            assert draw.segment is None
            assert len(draw.batches) == len(draw.augment.operations) == draw.first + 3
            assert len(draw.target) == 0
            starts.append(draw.start)
        firsts.append(draws[0].first)
    assert {*firsts} == {0, 1, 2, 3, 4}
    assert len({tuple(start.tolist()) for start in starts}) == 120
    fresh = INITIAL(generator(0))
    assert all(start.shape == fresh.shape for start in starts)
    assert torch.stack(starts).std() == pytest.approx(float(fresh.std()), rel=0.1)


def test_the_steps_before_the_window_go_on_in_the_same_batches(teachers: Trajectories) -> None:
    segments = Segments(teachers, INITIAL, ALL, 10, 20, seed=3, device=torch.device("cpu"))
    draws = {iteration: segments(iteration)[0] for iteration in range(9)}
    iteration, draw = max(draws.items(), key=lambda item: item[1].first)
    assert draw.first == 4
    stream = BatchStream(10, 6, 3, "distill", iteration, 0, "batches")
    assert torch.equal(draw.batches, stream.stack(range(7)))


@pytest.mark.parametrize(
    ("share", "since", "expected"),
    [
        (0, 0, []),
        (1, 0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (1, 5, [5, 6, 7]),
        (0.5, 0, [1, 3, 5, 7]),
        (0.25, 2, [5]),
    ],
)
def test_the_share_is_spread_evenly(share: float, since: int, expected: list[int]) -> None:
    config = MatchConfig(data_share=share, data_from=since)
    assert [i for i in range(8) if on_real_images(config, i)] == expected


def test_where_no_student_follows_teachers_their_epochs_do_not_matter(
    digits: DataSet, teachers: Trajectories
) -> None:
    beyond = replace(ALL, last_upper=10 * teachers.epochs)
    distill(digits, teachers, replace(DISTILL, match=beyond, iterations=1))


def test_the_others_follow_teachers_as_ever(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    """Up to `data_from` the same bits; from then on lines of another loss, without segments."""
    names = "distilled/last.safetensors", "distilled/initial.safetensors"
    match = replace(ALL, data_from=3)
    for iterations, out in ((3, "begun"), (6, "whole")):
        config = replace(DISTILL, match=match, iterations=iterations)
        distill(digits, teachers, config, out=tmp_path / out)
    distill(digits, teachers, replace(DISTILL, iterations=3), out=tmp_path / "plain")
    assert [tree(tmp_path / "begun")[name] for name in names] == [
        tree(tmp_path / "plain")[name] for name in names
    ]
    lines = [
        line for line in read_json_lines(tmp_path / "whole" / "metrics.jsonl") if "segments" in line
    ]
    assert ["data_loss" in line for line in lines] == [False] * 3 + [True] * 3
    assert ["loss" in line for line in lines] == [True] * 3 + [False] * 3
    assert [len(line["segments"]) for line in lines] == [1] * 3 + [0] * 3


def test_the_threshold_is_one_of_matching(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that does worse than chance still moves the images; one that is no number not."""

    def alter(call: int, gradient: MatchGradient) -> MatchGradient:
        return replace(gradient, loss=torch.tensor(float("nan") if call == 4 else 1.5))

    given = Given(alter)
    monkeypatch.setattr(job, "match_gradient", given)
    config = replace(CONFIG, match=ALL, threshold=1.0, iterations=6)
    distill(digits, teachers, config, out=tmp_path)
    lines = [line for line in read_json_lines(tmp_path / "metrics.jsonl") if "segments" in line]
    assert [line["skipped"] for line in lines] == [call == 4 for call in range(6)]


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_run_stopped_half_way_continues_to_the_same_bits(
    optimiser: str, digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    match = replace(ALL, segments=2, data_share=0.5)
    rates = {"sgd": 20.0, "adam": 0.05}
    config = replace(DISTILL, match=match, optimiser=optimiser, images_lr=rates[optimiser])
    distill(digits, teachers, config, out=tmp_path / "whole")
    for iterations in (3, config.iterations):
        distill(digits, teachers, replace(config, iterations=iterations), out=tmp_path / "halves")
    name = "distilled/last.safetensors"
    assert tree(tmp_path / "whole")[name] == tree(tmp_path / "halves")[name]
    runtime = Runtime(side_by_side=2)
    distill(digits, teachers, config, out=tmp_path / "beside", runtime=runtime)
    alone, beside = (load_tensors(tmp_path / run / name) for run in ("whole", "beside"))
    for key in alone:
        torch.testing.assert_close(alone[key], beside[key], rtol=2e-3, atol=1e-3)
