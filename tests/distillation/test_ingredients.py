"""What methods differ in: what becomes of the labels, averages, the distance, the prior."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_updates import CONFIG, Given, iterates

from datm.data import DataSet
from datm.distillation import distill
from datm.distillation.initial import ask_teachers
from datm.distillation.job import Job
from datm.distillation.segments import Segments
from datm.errors import InputError
from datm.matching import Span
from datm.matching.objective import hard_logits
from datm.networks import make_network
from datm.runtime.device import Runtime
from datm.runtime.files import load_tensors
from datm.runtime.logs import QUIET
from datm.teaching import Trajectories
from small_jobs import DISTILL, INITIAL, Recorded, tree


@pytest.mark.parametrize("labels", ["fixed", "hard"])
def test_labels_that_are_not_learned_stay_to_the_bit(
    labels: str,
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, labels=labels)
    first, last, _ = iterates(monkeypatch, digits, teachers, tmp_path, config, Given())
    assert torch.equal(first["logits"], last["logits"])
    assert not torch.equal(first["images"], last["images"])
    if labels == "hard":
        classes = torch.arange(10).repeat_interleave(config.ipc)
        assert torch.equal(first["logits"], hard_logits(classes, 10))
    else:
        assert first["logits"].softmax(1).max() < 1


def test_the_average_is_the_one_computed_beside_it(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against iterates of a run without one; the updates themselves are not averaged."""
    places = []
    for steps in range(CONFIG.iterations + 1):
        config = replace(CONFIG, iterations=steps)
        given = Given()
        last = iterates(monkeypatch, digits, teachers, tmp_path / str(steps), config, given)[1]
        places.append(last)
    given = Given()
    config = replace(CONFIG, ema=0.7)
    averaged = iterates(monkeypatch, digits, teachers, tmp_path / "ema", config, given)[1]
    for name in ("images", "logits"):
        expected = places[0][name]
        for place in places[1:]:
            expected = 0.7 * expected + 0.3 * place[name]
        torch.testing.assert_close(averaged[name], expected)
    assert torch.equal(averaged["step_size"], places[-1]["step_size"])


def test_an_averaged_run_stopped_half_way_continues_to_the_same_bits(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    config = replace(DISTILL, ema=0.5, labels="fixed")
    distill(digits, teachers, config, out=tmp_path / "whole")
    for iterations in (3, config.iterations):
        distill(digits, teachers, replace(config, iterations=iterations), out=tmp_path / "halves")
    for name in ("distilled/last.safetensors", "distilled/distilled.safetensors"):
        assert tree(tmp_path / "whole")[name] == tree(tmp_path / "halves")[name]


def test_the_average_is_what_is_judged_and_kept(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    config = replace(DISTILL, ema=0.9, iterations=1, validate_every=1, images_lr=1e4)
    made = Job(digits, teachers, config, Runtime(), 0)
    begun = made.begin(QUIET)
    moved = begun.updated(made.match(begun)[0][1], config)
    judged = replace(moved, iteration=1).judged(2.0)
    assert torch.equal(judged.best_images, moved.average_images)
    assert not torch.allclose(moved.average_images, moved.images)
    assert made.validate(moved) == made.validate(replace(moved, images=begun.images))


def test_the_settings_of_the_distance_reach_the_matching(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Recorded(monkeypatch)
    match = replace(DISTILL.match, skip_depth=0.5, nearest=True)
    distill(digits, teachers, replace(DISTILL, match=match, iterations=1), out=tmp_path)
    [distance] = found.each("distance")
    total = make_network(teachers.network, digits.shape, 10).layout.total
    assert distance.nearest
    assert distance.spans == (Span(round(total / 2), total),)


def test_with_the_prior_taken_off_labels_and_loss_are_balanced(
    digits: DataSet, teachers: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prior of equal shares changes nothing but every logit's constant; another one does."""
    plain = Job(digits, teachers, DISTILL, Runtime(), 0)
    config = replace(DISTILL, match=replace(DISTILL.match, prior_correction=True))
    balanced = Job(digits, teachers, config, Runtime(), 0)
    states = plain.begin(QUIET), balanced.begin(QUIET)
    torch.testing.assert_close(states[0].logits.softmax(1), states[1].logits.softmax(1))
    losses = [made.match(s)[0][1].loss for made, s in zip((plain, balanced), states, strict=True)]
    torch.testing.assert_close(*losses)

    shares = torch.tensor([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.02])
    monkeypatch.setattr(DataSet, "class_prior", shares)
    skewed = Job(digits, teachers, config, Runtime(), 0)
    state = skewed.begin(QUIET)
    opinion = ask_teachers(digits, teachers, skewed.network, False)
    rows = [
        int((opinion.logits - shares.log() - own).abs().sum(1).argmin()) for own in state.logits
    ]
    torch.testing.assert_close(state.logits, opinion.logits[rows] - shares.log())
    assert not torch.allclose(skewed.match(state)[0][1].loss, losses[0])
    # Fresh networks are trained on the set as it is, without a prior.
    assert skewed.reader.loss.log_prior is None
    torch.testing.assert_close(skewed.student.loss.log_prior, shares.log())


def test_a_balanced_classifier_has_no_prior_to_take_off(
    digits: DataSet, teachers: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores are labels as they are, and only the backbone's loss is corrected."""
    shares = torch.tensor([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.02])
    monkeypatch.setattr(DataSet, "class_prior", shares)
    config = replace(DISTILL, match=replace(DISTILL.match, prior_correction=True))
    plain = Job(digits, teachers, DISTILL, Runtime(), 0)
    monkeypatch.setattr(Trajectories, "classifier", "balanced")
    ours = Job(digits, teachers, config, Runtime(), 0)
    assert torch.equal(ours.begin(QUIET).logits, plain.begin(QUIET).logits)
    assert ours.student.loss.decoupled
    torch.testing.assert_close(ours.student.loss.log_prior, shares.log())
    assert not Job(digits, teachers, DISTILL, Runtime(), 0).student.loss.decoupled


@pytest.mark.parametrize("tail", [True, False])
def test_iterates_of_a_long_tail_are_chosen_by_the_mean_of_the_classes(
    digits: DataSet, teachers: Trajectories, monkeypatch: pytest.MonkeyPatch, tail: bool
) -> None:
    split = digits.validation
    some = torch.cat([(split.labels == k).nonzero()[: 1 if k < 5 else 9, 0] for k in range(10)])
    data = replace(digits, validation=split.select(some)) if tail else digits
    made = Job(data, teachers, DISTILL, Runtime(), 0)
    asked = []
    monkeypatch.setattr(
        made.predictor, "accuracy", lambda *_, by_class, **__: asked.append(by_class) or 0.5
    )
    assert made.validate(made.begin(QUIET)) == 0.5
    assert set(asked) == {tail}


def test_last_is_what_is_averaged(digits: DataSet, teachers: Trajectories, tmp_path: Path) -> None:
    distill(digits, teachers, replace(DISTILL, ema=0.5), out=tmp_path)
    state = load_tensors(tmp_path / "checkpoint" / "state.safetensors")
    last = load_tensors(tmp_path / "distilled" / "last.safetensors")
    assert torch.equal(last["images"], state["average_images"])
    assert not torch.equal(last["images"], state["images"])


def test_the_rates_fall_along_half_a_cosine(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against torch's own schedule over the same gradients, without momentum."""
    still = {"images_momentum": 0, "labels_momentum": 0, "step_size_momentum": 0}
    config = replace(CONFIG, final_rate=0.1, smallest_step_size=1e-9, step_size_lr=1e-4, **still)
    given = Given()
    first, last, _ = iterates(monkeypatch, digits, teachers, tmp_path, config, given)
    images = first["images"].clone().requires_grad_()
    optimiser = torch.optim.SGD([images], lr=config.images_lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, config.iterations, eta_min=0.1 * config.images_lr
    )
    for gradient in given.given:
        images.grad = gradient.images_grad.clone()
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(last["images"], images.detach(), rtol=1e-5, atol=1e-5)
    shares = [config.rate(i) for i in (0, config.iterations)]
    assert shares == pytest.approx([1, 0.1])
    assert CONFIG.rate(5) == 1


def test_a_run_with_falling_rates_cannot_be_made_longer(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    falling = replace(DISTILL, final_rate=0.2)
    distill(digits, teachers, falling, out=tmp_path)
    longer = replace(falling, iterations=falling.iterations + 2)
    with pytest.raises(InputError, match=r"belongs to another distillation .*iterations"):
        distill(digits, teachers, longer, out=tmp_path)


def test_every_second_segment_is_flipped(teachers: Trajectories) -> None:
    """And nothing else is drawn differently."""
    plain = Segments(teachers, INITIAL, DISTILL.match, 10, 20, 0, torch.device("cpu"))
    both = Segments(
        teachers, INITIAL, replace(DISTILL.match, flip=True), 10, 20, 0, torch.device("cpu")
    )
    count = 0
    for iteration in range(200):
        [one], [other] = plain(iteration), both(iteration)
        assert (one.segment, one.augment.operations) == (other.segment, other.augment.operations)
        assert torch.equal(one.augment.uniforms, other.augment.uniforms)
        assert torch.equal(one.batches, other.batches)
        assert not one.augment.flipped
        count += other.augment.flipped
    assert 70 < count < 130


def test_teachers_that_saw_no_flipped_images_cannot_be_flipped(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    config = replace(DISTILL, match=replace(DISTILL.match, flip=True))
    with pytest.raises(InputError, match=r"match\.flip: .* crop_scale_rotate, has no flip"):
        distill(digits, teachers, config, out=tmp_path / "distilled")
    assert not (tmp_path / "distilled").exists()
