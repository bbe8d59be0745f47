"""Are compiled functions right, through warm-up, capture and replays?

On a GPU the first call of a compiled function warms up, the second records a CUDA graph, and only
from the third on the graph is replayed. A result that was overwritten, or an input that was baked
into the graph, shows from then on: every turn has other data.
"""

from collections.abc import Iterator

import torch
from speed.baselines import Segment, error

from datm.evaluation.train import Protocol, train_networks
from datm.matching import Student, student_loss
from datm.networks import Network, Predictor
from datm.runtime.capturing import recording_failures
from datm.runtime.seeds import generator
from gpu.problems import STRATEGY, Place, Problem, random_problem

TURNS, STEPS, BATCH = 5, 3, 10
NAMES = "images_grad", "logits_grad", "step_size_grad", "student"
ROUNDING = {"float32": 0.05, "tf32": 0.2, "bfloat16": 0.2}
"""How far rounding may take compiled from eager results, as a share: where it puts an input of a
ReLU on the other side of zero, a gradient jumps. A function's result for other data is off by 1."""


def check(place: Place) -> bool:
    """Print every comparison; whether all of them hold."""
    oracle = Student(student_loss(place.network("float32")))
    right = True
    for precision in place.precisions("float32", "tf32", "bfloat16"):
        network, most = place.network(precision), ROUNDING[precision]
        compiled = Student(student_loss(network), place.on_gpu)
        eager = Student(student_loss(network))
        for sides in (1, 3):
            title = f"{precision}, {sides} side by side"
            for turn in range(TURNS):
                problem = random_problem(place, network, BATCH, STEPS, sides, seed=turn)
                for name, difference in functions(problem.segment, compiled, eager):
                    right &= judged(f"{title}, turn {turn}, {name}", difference, most)
                for name, ours, least in matched(problem, compiled, eager, oracle):
                    right &= judged(f"{title}, turn {turn}, {name}", ours, 5 * least + 0.05)
            for turn in range(TURNS):
                difference = trained(place, network, (compiled, eager), sides, turn)
                right &= judged(f"{title}, turn {turn}, trained", difference, most)
        for turn, difference in enumerate(scored(place, network)):
            right &= judged(f"{precision}, turn {turn}, scores", difference, most)
    failures = recording_failures()
    print(f"failures to record a CUDA graph: {failures}", flush=True)
    right &= not failures
    print("all right" if right else "NOT right: see above", flush=True)
    return right


def judged(title: str, found: float, most: float) -> bool:
    """Whether an error is not above what rounding explains; printed."""
    verdict = "" if found <= most else "  WRONG"
    print(f"{title}: {found:.1e} (at most {most:.0e}){verdict}", flush=True)
    return found <= most


def functions(segment: Segment, compiled: Student, eager: Student) -> Iterator[tuple[str, float]]:
    """How far each compiled function is from the eager one, by name, on the first batch."""
    rows = segment.batches[..., 0, :]
    inputs = segment.start, segment.images[rows], segment.logits[rows]
    # Along the gradient, in part: along a random direction the loss may not change at all.
    slope, way = eager.gradient(*inputs)[0], segment.target - segment.start
    unit = slope / slope.norm(dim=-1, keepdim=True) + way / way.norm(dim=-1, keepdim=True)
    for name, given in (
        ("gradient", inputs),
        ("adjoint", (*inputs, unit)),
        ("adjoint_of_data", (*inputs, unit)),
    ):
        found, plain = (getattr(student, name)(*given) for student in (compiled, eager))
        yield name, max(error(own, wanted) for own, wanted in zip(found, plain, strict=True))


def matched(
    problem: Problem, compiled: Student, eager: Student, oracle: Student
) -> Iterator[tuple[str, float, float]]:
    """Errors of the compiled and of the eager matching gradient against float64, by name."""
    found, plain = problem.match(compiled), problem.match(eager)
    true = problem._replace(segment=problem.segment.double()).match(oracle)
    for name in NAMES:
        errors = [error(getattr(own, name), getattr(true, name)) for own in (found, plain)]
        yield name, errors[0], errors[1]


def trained(
    place: Place, network: Network, students: tuple[Student, Student], sides: int, turn: int
) -> float:
    """How far apart two students end that begin alike, as a share of the way.

    Six steps: a run of four and one of two, which are recorded in the second turn. Rates are others
    in every turn.
    """
    rate = 0.01 / (turn + 1)
    protocol = Protocol(learning_rate=rate, epochs=3, batch=BATCH, augmentation=STRATEGY)
    segment = random_problem(place, network, BATCH, 1, seed=turn).segment
    sets, seeds = [(segment.images, segment.logits)] * sides, range(turn, turn + sides)
    begun = torch.stack([network.initial(generator(seed, "initial")) for seed in seeds])
    ends = [train_networks(network, own, sets, protocol, list(seeds)).cpu() for own in students]
    return error(ends[0] - begun, ends[1] - begun)


def scored(place: Place, network: Network) -> list[float]:
    """How far apart compiled and eager class scores are, under other parameters each time."""
    compiled, eager = Predictor(network, place.on_gpu), Predictor(network)
    found = []
    for turn in range(TURNS):
        segment = random_problem(place, network, 300, 1, seed=turn).segment
        given = segment.start, segment.images, segment.images
        found.append(error(compiled.scores(*given), eager.scores(*given)))
    return found
