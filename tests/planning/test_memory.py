"""The model of memory and disk: constants as the code allocates, sums in closed form."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from plans import PARAMETERS, PER_IMAGE, costs_of, outline_of

from allocations import allocated
from datm import pipeline
from datm.data import load
from datm.data.transform import fit_transform
from datm.distillation.config import DistillConfig
from datm.distillation.state import State, save_state
from datm.matching import MatchGradient
from datm.matching.objective import hard_logits
from datm.networks import make_network
from datm.planning import memory
from datm.planning.memory import Phase, largest
from datm.planning.outline import Sizes
from datm.planning.work import stages
from datm.runtime.files import load_tensors
from datm.teaching.balanced import decoupled
from datm.teaching.optimisers import du2023ftd, sgd
from mini import mini_recipe

CIFAR_TRAIN, CIFAR_HELD_OUT = 45_000 * 3072 * 4, 15_000 * 3072 * 4


def phase_of(phases: list[Phase], text: str) -> Phase:
    (found,) = [phase for phase in phases if text in phase.name]
    return found


# --- the constants ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normalise", "zca"])
def test_a_transform_holds_three_copies(kind: str) -> None:
    images = torch.randint(0, 256, (4000, 3, 8, 8), dtype=torch.uint8)
    transform = fit_transform(kind, images)
    copy = 4 * images.numel()
    assert allocated(lambda: transform(images))[0] == pytest.approx(
        memory.TRANSFORMING * copy, rel=0.01
    )


def test_hard_labels_hold_twelve_bytes_a_logit() -> None:
    labels = torch.randint(0, 50, (20_000,))
    logits = 50 * len(labels)
    assert allocated(lambda: hard_logits(labels, 50))[0] == pytest.approx(
        memory.HARD_LABELS * logits, rel=0.02
    )


@pytest.mark.parametrize(
    ("config", "sets"),
    [
        (DistillConfig(), 3),
        (DistillConfig(ema=0.9), 5),
        (DistillConfig(optimiser="adam"), 5),
        (DistillConfig(optimiser="adam", ema=0.9), 6),
    ],
)
def test_the_sets_that_an_update_holds(config: DistillConfig, sets: int) -> None:
    images, logits = torch.randn(1000, 3, 8, 8), torch.randn(1000, 2)
    state = State.begin(images, logits, config)
    gradient = MatchGradient(
        *(torch.ones_like(t) for t in (images[0], images, logits)),
        torch.tensor(1.0),
        torch.zeros(3),
    )
    one = images.nbytes + logits.nbytes
    held, _ = allocated(lambda: state.updated(gradient, config))
    assert memory.updating_sets(config) == sets
    assert held == pytest.approx(sets * one, rel=0.02)


@pytest.mark.parametrize(
    ("config", "sets", "squares"),
    [
        (DistillConfig(), memory.STATE - 1, 0),
        (DistillConfig(ema=0.9), memory.STATE, 0),
        (DistillConfig(optimiser="adam", ema=0.9), memory.STATE, memory.SQUARES),
    ],
)
def test_a_state_has_four_sets_three_of_them_in_memory_without_an_average_and_adam_one_more(
    config: DistillConfig, sets: int, squares: int, tmp_path: Path
) -> None:
    images, logits = torch.randn(100, 3, 8, 8), torch.randn(100, 2)
    gradient = MatchGradient(torch.ones(()), images, logits, torch.tensor(1.0), torch.zeros(3))
    state = State.begin(images, logits, config).updated(gradient, config)
    tensors = [value for value in vars(state).values() if isinstance(value, torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.nbytes for t in tensors if t.ndim}
    one = images.nbytes + logits.nbytes
    assert sum(storages.values()) == (sets + squares) * one
    save_state(tmp_path, state, {})
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == pytest.approx((memory.STATE + squares) * one, rel=0.02)


@pytest.mark.parametrize(
    ("ftd", "balanced", "more"),
    [
        (True, False, memory.FTD_VECTORS),
        (False, True, memory.BALANCED_VECTORS),
        (True, True, memory.FTD_VECTORS + memory.BALANCED_VECTORS),
    ],
)
def test_what_a_teachers_variants_hold_during_their_last_gradient(
    ftd: bool, balanced: bool, more: int
) -> None:
    params = torch.randn(1, 100_000)
    activations = 20 * params.nbytes

    def plain(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        torch.empty(activations, dtype=torch.uint8)
        return at.clone(), at.new_zeros(1)

    chosen = decoupled(plain, plain, 10) if balanced else plain
    direction = partial(du2023ftd, rho=0.1, gsam_alpha=0.3) if ftd else sgd
    held, _ = allocated(lambda: direction(chosen, params))
    assert held - activations == pytest.approx(more * params.nbytes, rel=0.01)


def test_writing_a_whitening_holds_three_matrices_beside_the_half_one() -> None:
    transform = fit_transform("zca", torch.randint(0, 256, (50, 3, 12, 12), dtype=torch.uint8))

    def written() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return transform.tensors(), transform._unwhitening

    assert allocated(written)[0] == pytest.approx(memory.INVERTING * 432**2, rel=0.01)


# --- the sums ---------------------------------------------------------------------------------


def test_teaching_in_numbers() -> None:
    outline = outline_of()
    phases = memory.teach(
        outline, stages(outline)["teach"], PARAMETERS, costs_of(outline).activations
    )
    assert phase_of(phases, "training images").whole == 3 * CIFAR_TRAIN
    step = phase_of(phases, "256 images")
    assert step.whole == CIFAR_TRAIN + CIFAR_HELD_OUT + 4 * 450_000 + 16 * PARAMETERS
    assert step.activations == 256 * PER_IMAGE
    assert largest(phases) == step
    assert largest(phases, gaps=100.0).name == "the training images' transform"


def test_distilling_keeps_parameter_vectors_and_two_states() -> None:
    outline = outline_of("cifar10-ipc50")
    costs = costs_of(outline)
    phases = memory.distil(outline, stages(outline)["distil"], PARAMETERS, costs.activations)
    one = 4 * 500 * (3072 + 10)
    held_out = 5000 * 3072 * 4
    match = phase_of(phases, "an inner step on 500 images")
    assert match.whole == held_out + 7 * one + (80 + 4) * 4 * PARAMETERS
    assert match.activations == 500 * PER_IMAGE
    assert phase_of(phases, "the update").whole == held_out + 10 * one


def test_states_hold_what_is_stored_and_steps_what_is_formed_of_it() -> None:
    """Four pieces an image: labels for each, and all of them enlarged, with their gradient."""
    recipe = outline_of("cifar10-ipc10").recipe
    outline = outline_of(replace(recipe, distill=replace(recipe.distill, formation=2)))
    assert (outline.stored, outline.synthetic, outline.real) == (100, 400, 100)
    costs = costs_of(outline)
    phases = memory.distil(outline, stages(outline)["distil"], PARAMETERS, costs.activations)
    one, formed = 4 * (100 * 3072 + 400 * 10), 4 * 400 * 3072
    held_out = 5000 * 3072 * 4
    steps, batch = recipe.distill.match.inner_steps, outline.match_batch
    match = phase_of(phases, f"an inner step on {batch} images")
    assert match.whole == held_out + 7 * one + 2 * formed + (steps + 4) * 4 * PARAMETERS
    assert phase_of(phases, "the update").whole == held_out + 10 * one


def test_what_goes_side_by_side_has_parameters_of_its_own() -> None:
    recipe = outline_of().recipe
    match = replace(recipe.distill.match, segments=4)
    several = replace(
        recipe,
        runtime=replace(recipe.runtime, side_by_side=4),
        distill=replace(recipe.distill, match=match),
    )
    outline = outline_of(several)
    phases = memory.distil(
        outline, stages(outline)["distil"], PARAMETERS, costs_of(outline).activations
    )
    found = phase_of(phases, "4 x 100 images")
    one = 4 * 100 * (3072 + 10)
    assert found.activations == 400 * PER_IMAGE
    assert found.whole == 5000 * 3072 * 4 + 10 * one + 4 * 84 * 4 * PARAMETERS


def test_the_largest_set_of_an_evaluation_is_all_the_data_where_it_is_asked_for() -> None:
    recipe = outline_of().recipe
    small = replace(recipe, evaluate=replace(recipe.evaluate, baselines=("random",)))
    found = []
    for chosen in (recipe, small):
        outline = outline_of(chosen)
        work = stages(outline)["evaluate"]
        phases = memory.evaluate(outline, work, PARAMETERS, costs_of(outline).activations)
        found.append(phase_of(phases, "transform").whole)
    images = [50_000, 100]
    # all as bytes and three copies of floats; the sets of the networks before are gone
    assert found == [CIFAR_HELD_OUT + n * 3072 * (1 + 12) for n in images]


def test_baselines_are_made_of_all_the_training_images() -> None:
    recipe = outline_of().recipe
    chosen = replace(recipe.evaluate, baselines=("random", "dm"))
    outline = outline_of(replace(recipe, evaluate=chosen))
    work = stages(outline)["evaluate"]
    phases = memory.evaluate(outline, work, PARAMETERS, costs_of(outline).activations)
    assert phase_of(phases, "transform").whole == CIFAR_HELD_OUT + 45_000 * 3072 * 13
    made = phase_of(phases, "distribution matching on 256 images")
    assert made.whole >= CIFAR_HELD_OUT + CIFAR_TRAIN + 16 * PARAMETERS


def test_networks_side_by_side_are_evaluated_on_sets_of_their_own() -> None:
    recipe = outline_of().recipe
    outline = outline_of(replace(recipe, runtime=replace(recipe.runtime, side_by_side=3)))
    work = stages(outline)["evaluate"]
    phases = memory.evaluate(outline, work, PARAMETERS, costs_of(outline).activations)
    transform = phase_of(phases, "transform")
    assert transform.whole == CIFAR_HELD_OUT + 50_000 * 3072 * (1 + 12 + 2 * 4)


def test_teachers_take_the_papers_13_gigabytes() -> None:
    assert memory.teacher_disk(outline_of(), PARAMETERS) == 101 * 4 * PARAMETERS
    assert memory.teachers_disk(outline_of(), PARAMETERS) / 1e9 == pytest.approx(12.93, rel=0.011)


def test_the_disk_that_a_run_takes(tmp_path: Path) -> None:
    """Against the files of a real run: the teachers to a percent, the rest as an upper bound."""
    recipe = mini_recipe(
        teach__epochs="30",
        network="convnet-2,width=16",
        teach__order="el2n",
        teach__curriculum__networks="3",
        teach__curriculum__network_epochs="1",
    )
    data = load(recipe.data)
    outline = outline_of(recipe, Sizes.of(data))
    parameters = make_network(recipe.teach.network, data.shape, 10).layout.total
    pipeline.run(recipe, tmp_path, stages=["teach", "distill"])
    teachers = list((tmp_path / "trajectories").glob("teacher-*.safetensors"))
    one = memory.teacher_disk(outline, parameters)
    assert [path.stat().st_size for path in teachers] == [pytest.approx(one, rel=0.01)] * 2
    assert memory.teachers_disk(outline, parameters) == 3 * one
    scores = load_tensors(tmp_path / "trajectories" / "el2n.safetensors")["scores"]
    assert scores.nbytes == memory.scores_disk(outline)
    kept = [tmp_path / "checkpoint", tmp_path / "distilled"]
    tensors = sum(p.stat().st_size for folder in kept for p in folder.glob("*.safetensors"))
    assert memory.set_disk(outline) / 2 < tensors < memory.set_disk(outline)
