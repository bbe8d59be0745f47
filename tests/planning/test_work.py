"""The counts of steps are those that a run takes."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from plans import CONVNET_3, outline_of

from datm import pipeline
from datm.baselines import zhao2021dsa, zhao2023dm
from datm.data import load
from datm.evaluation import made
from datm.matching import Student
from datm.networks import Predictor
from datm.networks.accuracy import CHUNK
from datm.planning.outline import Outline, Sizes
from datm.planning.work import stages
from datm.recipes import Recipe
from mini import mini_recipe

VARIANTS = {
    "as it is": {},
    "choices": {
        "evaluate__learning_rates": "0.01,0.1",
        "evaluate__random_multiples": "2,3,1000",
        "evaluate__full_seeds": "1",
        "evaluate__multiple_seeds": "1",
        "evaluate__batch": "30",
        "match__segments": "2",
        "distill__validate_every": "3",
        "distill__validate_networks": "2",
    },
    "side by side": {
        "side_by_side": "2",
        "teach__teachers": "3",
        "match__segments": "5",
        "evaluate__seeds": "3",
        "evaluate__learning_rates": "0.01,0.1",
    },
    "unrolled, side by side": {
        "side_by_side": "2",
        "match__gradient": "unrolled",
        "match__segments": "2",
    },
    "real images in the outer loss": {
        "match__data_share": "0.7",
        "match__data_from": "1",
        "match__data_batch": "37",
        "match__segments": "3",
        "side_by_side": "2",
    },
    "baselines that are made": {
        "evaluate__baselines": "herding,k-center,dm,dsa",
        "evaluate__models": "convnet-1,width=4,convnet-1,width=8",
        "evaluate__coresets__epochs": "2",
        "evaluate__dm__iterations": "2",
        "evaluate__dm__batch": "50",
        "evaluate__dsa__iterations": "2",
        "evaluate__dsa__outer": "3",
        "evaluate__dsa__inner": "2",
        "evaluate__dsa__network_batch": "7",
    },
    "flat minima": {"teach__optimiser": "ftd"},
    "a balanced classifier": {"teach__classifier": "balanced", "teach__batch": "5000"},
    "both, side by side": {
        "teach__optimiser": "ftd",
        "teach__classifier": "balanced",
        "teach__teachers": "3",
        "side_by_side": "2",
    },
    "by difficulty": {
        "teach__order": "el2n",
        "teach__batch": "1000",  # more than the easiest half: batches of several sizes
        "teach__curriculum__easiest": "0.5",
        "teach__curriculum__complete_after": "2",
        "teach__curriculum__drop_after": "2",
        "teach__curriculum__drop_until": "4",
        "teach__curriculum__networks": "3",
        "teach__curriculum__network_epochs": "2",
        "side_by_side": "2",
    },
    "by difficulty, everything else too": {
        "teach__order": "el2n",
        "teach__optimiser": "ftd",
        "teach__classifier": "balanced",
        "teach__curriculum__networks": "1",
        "teach__curriculum__network_epochs": "1",
    },
    "without": {
        "evaluate__baselines": "random",
        "evaluate__models": "convnet-1",
        "distill__iterations": "0",
        "teach__batch": "5000",
    },
}


class Taken:
    """Counts the steps that are taken, by kind and batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[tuple[str, int, int]] = Counter()
        for kind in ("gradient", "adjoint"):
            self._watch(monkeypatch, kind)
        for several, kind, place in (
            ("advance", "gradient", 1),
            ("descend", "gradient", 2),
            ("retreat", "adjoint", 1),
        ):
            self._watch_several(monkeypatch, several, kind, place)
        scores = Predictor.scores

        def counted(predictor, params, images, reference):
            self.counts["scores", min(CHUNK, len(images)), 1] += math.ceil(len(images) / CHUNK)
            return scores(predictor, params, images, reference)

        monkeypatch.setattr(Predictor, "scores", counted)
        features_of = made.features_of

        def passed(network, params, images):
            self.counts["scores", CHUNK, 1] += math.ceil(len(images) / CHUNK)
            return features_of(network, params, images)

        monkeypatch.setattr(made, "features_of", passed)
        self._watch_baseline(monkeypatch, zhao2023dm, "feature_distance", "dm")
        self._watch_baseline(monkeypatch, zhao2021dsa, "class_distance", "dsa")

    def _watch_baseline(
        self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, kind: str
    ) -> None:
        original = getattr(module, name)

        def counted(own, *others):
            self.counts[kind, len(own), 1] += 1
            return original(own, *others)

        monkeypatch.setattr(module, name, counted)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        original = getattr(Student, kind)

        def counted(student, params, images, *others):
            sides, batch = images.shape[:2] if params.ndim > 1 else (1, len(images))
            self.counts[kind, batch, sides] += 1
            return original(student, params, images, *others)

        monkeypatch.setattr(Student, kind, counted)

    def _watch_several(
        self, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, place: int
    ) -> None:
        """Steps taken one after the other in one call; of images [n, B, ...] or [G, n, B, ...].

        place: of the images among the arguments.
        """
        original = getattr(Student, name)

        def counted(student, *arguments):
            *sides, steps, batch = arguments[place].shape[:-3]
            self.counts[kind, batch, sides[0] if sides else 1] += steps
            return original(student, *arguments)

        monkeypatch.setattr(Student, name, counted)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_run_takes_the_steps_that_are_planned(
    changes: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_as_planned(mini_recipe(**changes), tmp_path, monkeypatch)


def test_teachers_are_not_asked_where_an_earlier_set_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run(mini_recipe(), tmp_path / "earlier", stages=["teach", "distill"])
    earlier = str(tmp_path / "earlier" / "distilled")
    assert_as_planned(mini_recipe(distill__begin_with=earlier), tmp_path / "later", monkeypatch)


def assert_as_planned(recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(recipe.data)
    outline = Outline(
        recipe=recipe,
        sizes=Sizes.of(data),
        network="convnet-1,width=4",
        models=recipe.evaluate.models or ("convnet-1,width=4",),
        teachers=recipe.teach.teachers,
        augmentation=recipe.teach.augmentation,
    )
    # Unrolled, a step is no call of its own; its count is that of the others.
    unrolled = recipe.distill.match.gradient == "unrolled"
    swept = () if unrolled else ("gradient", "adjoint")
    for stage, work in stages(outline).items():
        taken = Taken(monkeypatch)
        pipeline.run(recipe, out, stages=["distill" if stage == "distil" else stage])
        expected: Counter[tuple[str, int, int]] = Counter()
        for step, count in work.items():
            if step.kind == "match":  # the forward sweep, then the adjoint's
                for kind in swept:
                    expected[kind, step.batch, step.side] += count
            elif step.kind in ("dm", "dsa"):
                expected[step.kind, step.synthetic, step.side] += count
            elif step.kind != "statistics":
                expected[step.kind, step.batch, step.side] += count
        assert taken.counts == expected, stage
        monkeypatch.undo()


def test_the_papers_recipe_in_numbers() -> None:
    """Closed form: 100 teachers of 100 epochs of 176 steps; 10,000 iterations of 80 inner steps."""
    work = stages(outline_of("cifar10-ipc50"))
    counts = {
        (stage, step.kind, step.batch): n for stage, w in work.items() for step, n in w.items()
    }
    assert counts["teach", "gradient", 256] == 100 * 100 * 176
    assert counts["teach", "scores", CHUNK] == 100 * 101 * (20 + 40)
    assert counts["distil", "match", 500] == 10_000 * 80
    assert counts["distil", "gradient", 256] == 51 * 300 * 2
    # distilled, before distillation, random with 3 rates; all data: 195 steps, 176 to choose by
    assert counts["evaluate", "gradient", 256] == 18 * 2000 + 100 * (5 * 195 + 3 * 176)


def test_steps_before_those_that_are_differentiated_are_counted_by_their_mean() -> None:
    """Closed form: half of the last 8,000 iterations, 0 to 60 steps more each."""
    recipe = outline_of("cifar10-ipc50").recipe
    changed = replace(recipe.distill.match, data_share=0.5, data_from=2000, data_skip=60)
    plain = stages(outline_of(recipe))["distil"]
    more = stages(outline_of(replace(recipe, distill=replace(recipe.distill, match=changed))))
    found = {(step.batch, step.augmentation): n for step, n in (more["distil"] - plain).items()}
    strategy = recipe.teach.augmentation
    assert found == {(500, strategy): 4000 * 30, (512, "none"): 4000}


def test_the_baselines_that_are_made_in_numbers() -> None:
    """Closed form: DM 2,000 and DSA 100 x 10 updates of ten classes; 9 x 50 passes between."""
    recipe = outline_of().recipe
    config = replace(recipe.evaluate, baselines=("herding", "k-center", "dm", "dsa"))
    models = (CONVNET_3, CONVNET_3.replace("128", "64"))
    outline = outline_of(replace(recipe, evaluate=config), models=models)
    work = stages(outline)["evaluate"]
    made = {step.kind: (step, n) for step, n in work.items() if step.synthetic}
    assert {kind: n for kind, (_, n) in made.items()} == {"dm": 20_000, "dsa": 10_000}
    for step, _ in made.values():
        assert (step.batch, step.synthetic, step.network) == (256, 10, CONVNET_3)
    steps = {(s.network, s.batch): n for s, n in work.items() if s.kind == "gradient"}
    # distilled and four rows with three rates; then the inner passes, and the features' network
    rows = (5 + 4 * 8) * 1000
    assert steps[CONVNET_3, 100] == rows + 100 * 9 * 50
    assert steps[models[1], 100] == rows
    assert steps[CONVNET_3, 256] == steps[models[1], 256] == 20 * 176


def test_teachers_made_elsewhere_cost_nothing_here() -> None:
    outline = outline_of(made=False, teachers=7)
    work = stages(outline)
    assert not work["teach"]
    asked = {step.kind: n for step, n in work["distil"].items()}
    assert asked["scores"] == 7 * 180 + 51 * 20


def test_a_step_is_counted_for_the_network_it_is_of() -> None:
    other = CONVNET_3.replace("128", "64")
    work = stages(outline_of(models=(CONVNET_3, other)))["evaluate"]
    by_network = {
        spec: sorted((s.kind, s.batch, n) for s, n in work.items() if s.network == spec)
        for spec in (CONVNET_3, other)
    }
    assert by_network[CONVNET_3] == by_network[other]
    assert by_network[other]
