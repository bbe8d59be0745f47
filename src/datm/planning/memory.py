"""A model of memory and disk: what each stage holds at once, in bytes.

Whole tensors are counted from their shapes; what a step takes beside them (its activations) comes
from measurement and is a straight line in the batch. A stage's need is that of its largest phase.

Letters: P parameters, S synthetic images, R as they are stored, K classes, D numbers in an image, N
inner steps, B batch, n real images, E epochs, G side by side.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from datm.distillation import DistillConfig
from datm.evaluation.made import CHOSEN, SYNTHETIC
from datm.planning.outline import Outline, Step, Work

FLOAT = 4
TRANSFORMING = 3  # float32 copies of what is being taken into the training space: x, x - mean, x'
HARD_LABELS = 12  # bytes per label logit as they are made: int64 and float32
OPINIONS = 3  # label logits per training image while the teachers are asked: sums and the scores
VECTORS = 4  # parameter vectors of a training step: parameters, momentum, gradient, a product
FTD_VECTORS = 2  # more at a teacher's second gradient: the first one, the perturbed parameters
BALANCED_VECTORS = 2  # more at the balanced gradient: the other one, and its backbone part
STATE = 4  # sets of R images in a state: the present, its momentum, the average, the best
SQUARES = 1  # sets more in the state of a run with Adam
UPDATING = 3  # sets more while a state is updated: new momentum, new images, a product
ADAPTING = 2  # sets more while Adam updates it: new squares, the direction
AVERAGING = 2  # sets more yet while an average is updated: two products, their sum
# Bytes per entry of the whitening while a set is written: the half matrix in float16 that goes to
# the file, then three matrices in float64 for the inverse. Fitting it, at loading, takes four, and
# the solver a fifth: but the data are loaded to be planned for, so that peak is measured.
INVERTING = 1 + 3 * 8
WRITING = 3  # sets more while a set is written: its pixels, as they are made
# Freed host memory is kept for later (runtime/allocator.py), but what comes later may not fit into
# the gap: resident are so many times the bytes alive (CIFAR-10, stage by stage: 1.2 to 1.4).
GAPS = 1.3
MADE = (*CHOSEN, *SYNTHETIC)  # baselines that are made of all the training images
METRICS_LINE = 900  # bytes of a logged iteration in metrics.jsonl and TensorBoard's events

Activations = Callable[[Step], int]
"""Bytes that a step takes beside its inputs."""


@dataclass(frozen=True)
class Phase:
    """One moment of a stage.

    whole: bytes of the tensors that are there; activations: what `step` takes beside them.
    """

    name: str
    whole: int
    step: Step | None = None
    activations: int = 0

    def total(self, gaps: float = 1.0) -> int:
        """Bytes in all; with `gaps` times the whole tensors, as activations were measured."""
        return round(gaps * self.whole) + self.activations


def largest(phases: Iterable[Phase], gaps: float = 1.0) -> Phase:
    """The phase that needs most."""
    return max(phases, key=lambda phase: phase.total(gaps))


def teach(outline: Outline, work: Work, parameters: int, activations: Activations) -> list[Phase]:
    """Teaching: every image in the training space, and steps on them.

    Like the others: bytes on the device beside the data set as it was loaded; `parameters` is P.
    """
    sizes = outline.sizes
    image, labels = FLOAT * sizes.pixels, sizes.train * sizes.classes
    train, test = sizes.train * image, sizes.test * image
    held = train + FLOAT * labels + sizes.validation * image
    return [
        Phase("the training images' transform", TRANSFORMING * train),
        Phase("the labels", train + HARD_LABELS * labels),
        Phase("the test images' transform", held + TRANSFORMING * test),
        *_steps(work, held + test, _teaching_vectors(outline) * FLOAT * parameters, activations),
    ]


def _teaching_vectors(outline: Outline) -> int:
    """Parameter vectors of each teacher that are there during its last gradient."""
    config = outline.recipe.teach
    ftd = FTD_VECTORS * (config.optimiser == "ftd")
    return VECTORS + ftd + BALANCED_VECTORS * (config.classifier == "balanced")


def distil(outline: Outline, work: Work, parameters: int, activations: Activations) -> list[Phase]:
    """Distilling: the teachers' opinions, then states of R images beside an inner step."""
    sizes, match = outline.sizes, outline.recipe.distill.match
    image = FLOAT * sizes.pixels
    validation, train = sizes.validation * image, sizes.train * image
    vector = FLOAT * parameters
    # Beside the present state stands the one of the last checkpoint.
    states = validation + 2 * _state_bytes(outline)
    gradients = match.segments * synthetic_bytes(outline)
    asking = validation + train + OPINIONS * FLOAT * sizes.train * sizes.classes
    held = {
        "scores": asking,
        "statistics": asking,
        "match": states + gradients + (1 + outline.at_once) * _formed_bytes(outline),
        "gradient": states + _formed_bytes(outline),
    }
    vectors = {"match": match.inner_steps + VECTORS}
    if match.data_share:  # the student's way is kept while it is tried on real images
        vectors["gradient"] = vectors["match"]
    asked = outline.recipe.distill.begin_with is None
    updating = updating_sets(outline.recipe.distill) * synthetic_bytes(outline)
    return [
        Phase("the training images' transform", validation + asked * TRANSFORMING * train),
        Phase("the update", states + gradients + updating),
        *(
            phase
            for step in work
            for phase in _steps(
                [step], held[step.kind], vectors.get(step.kind, VECTORS) * vector, activations
            )
        ),
    ]


def updating_sets(config: DistillConfig) -> int:
    """Sets of R images that are there while a state is updated, beside the state itself."""
    adam = config.optimiser == "adam"
    moving = UPDATING + ADAPTING * adam
    averaging = UPDATING + AVERAGING + SQUARES * adam
    return max(moving, averaging) if config.ema else moving


def evaluate(
    outline: Outline, work: Work, parameters: int, activations: Activations
) -> list[Phase]:
    """Evaluating one network, on the largest sets of images that it is trained on."""
    sizes, config = outline.sizes, outline.recipe.evaluate
    image = FLOAT * sizes.pixels
    # Networks side by side have a set each: the last is made while the others are there.
    if "full" in config.baselines:
        count = sizes.train + sizes.validation
        several = min(outline.at_once, config.full_seeds or config.seeds)
    elif set(MADE) & set(config.baselines):
        count, several = sizes.train, 1
    else:
        count, several = outline.synthetic, min(outline.at_once, config.seeds)
    held = (sizes.validation + sizes.test) * image
    others = (several - 1) * count * image
    training_sets = several * count * (image + FLOAT * sizes.classes)
    return [
        # All the real images are joined first, as bytes.
        Phase(
            "the images' transform", held + others + count * (sizes.pixels + TRANSFORMING * image)
        ),
        *_steps(work, held + training_sets, VECTORS * FLOAT * parameters, activations),
    ]


def writing(outline: Outline) -> Phase:
    """On the host, while a distilled set is written: its pixels come by the inverse transform."""
    sizes = outline.sizes
    inverse = INVERTING * sizes.pixels**2 if sizes.zca else 0
    held = FLOAT * sizes.validation * sizes.pixels + 2 * _state_bytes(outline)
    pixels = WRITING * (synthetic_bytes(outline) + _formed_bytes(outline))
    return Phase("writing the distilled set", held + pixels + inverse)


def loaded(outline: Outline) -> int:
    """Bytes of the data set as it is loaded: images as bytes, class numbers, the transform."""
    sizes = outline.sizes
    whitening = FLOAT * sizes.pixels**2 if sizes.zca else 0
    return (sizes.train + sizes.validation + sizes.test) * (sizes.pixels + 8) + whitening


def synthetic_bytes(outline: Outline) -> int:
    """Bytes of R images and S label logits."""
    pixels = outline.stored * outline.sizes.pixels
    return FLOAT * (pixels + outline.synthetic * outline.sizes.classes)


def _formed_bytes(outline: Outline) -> int:
    """Bytes of the S images that are formed of R, or nothing where these are the same."""
    formed = outline.recipe.distill.formation > 1
    return FLOAT * outline.synthetic * outline.sizes.pixels * formed


def _state_bytes(outline: Outline) -> int:
    """Bytes of a state: without an average, the present set stands for it."""
    config = outline.recipe.distill
    sets = (STATE if config.ema else STATE - 1) + SQUARES * (config.optimiser == "adam")
    return sets * synthetic_bytes(outline)


def _steps(work: Iterable[Step], held: int, vectors: int, activations: Activations) -> list[Phase]:
    """A phase for each kind of step, beside `held` bytes; each of G takes `vectors` bytes more."""
    return [
        Phase(_name(step), held + step.side * vectors, step, activations(step)) for step in work
    ]


def _name(step: Step) -> str:
    """What a step is, in words."""
    words = {
        "gradient": "a training step on",
        "match": "an inner step on",
        "scores": "the scores of",
        "statistics": "the statistics of",
        "dm": "distribution matching on",
        "dsa": "gradient matching on",
    }
    sides = f"{step.side} x " if step.side > 1 else ""
    return f"{words[step.kind]} {sides}{step.batch:,} images"


def teachers_disk(outline: Outline, parameters: int) -> int:
    """Bytes of the trajectories: K teachers of E + 1 rows of P float32, one of them twice.

    A teacher's rows are appended to a file of their own, then written anew as a safetensors file.
    """
    return (outline.recipe.teach.teachers + 1) * teacher_disk(outline, parameters)


def scores_disk(outline: Outline) -> int:
    """Bytes of the scores that order the images by difficulty: a float32 a network and image."""
    config = outline.recipe.teach
    if config.order == "shuffle":
        return 0
    return config.curriculum.networks * outline.sizes.train * FLOAT


def teacher_disk(outline: Outline, parameters: int) -> int:
    """Bytes of one trajectory."""
    return (outline.recipe.teach.epochs + 1) * FLOAT * parameters


def set_disk(outline: Outline) -> int:
    """Bytes of checkpoint/, distilled/ and metrics.jsonl."""
    sizes, config = outline.sizes, outline.recipe.distill
    # The checkpoint, written beside the one it replaces; the first, the last and the best set.
    # In a file the average is written out even where it is the present set.
    state = STATE + SQUARES * (config.optimiser == "adam")
    sets = (2 * state + 3) * synthetic_bytes(outline)
    whitening = sizes.pixels * (sizes.pixels + 1) if sizes.zca else 0  # half a matrix of float16
    # preview.png, and those of the report
    pictures = (outline.stored + outline.synthetic) * sizes.pixels
    lines = config.iterations // config.log_every * METRICS_LINE
    return sets + whitening + pictures + lines
