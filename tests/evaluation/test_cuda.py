"""All stages on a GPU against the CPU: where and how tensors are computed is the only difference.

    DATM_TEST_GPU=1 pytest tests/evaluation/test_cuda.py

Each compiled function is called four times and more, with other data each time: on a GPU the first
call warms up, the second records a CUDA graph, and only from the third on the graph is replayed.
"""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluations import CONFIG
from torch import Tensor

from datm.baselines import DMConfig, DSAConfig
from datm.data import DataSet
from datm.distillation import DistilledSet, distill
from datm.evaluation import evaluate
from datm.matching import Student, match_gradient, student_loss
from datm.networks import Network, Predictor, make_network
from datm.runtime.capturing import captured, recording_failures
from datm.runtime.device import Precision, Runtime
from datm.runtime.files import load_tensors
from datm.runtime.seeds import generator
from datm.teaching import Trajectories, teach
from small_jobs import DISTILL, TEACH

DEVICE = "cuda"
SHAPE = (3, 16, 16)
SPECS = [
    "convnet-2,width=8",
    "convnet-2,width=32",  # blocks in one pass
    "convnet-2,width=8,norm=batch",
]
CPU = Runtime(device="cpu")
TWO_SEGMENTS = replace(DISTILL, iterations=4, match=replace(DISTILL.match, segments=2))
# One rate: the choice among several may turn on a single validation image.
ONE_RATE = replace(
    CONFIG, learning_rates=(0.03,), baselines=("random", "full"), random_multiples=()
)
RUNTIMES: dict[str, dict[str, Any]] = {
    "eager": {},
    "compiled": {"compile": True},
    "compiled, side by side": {"compile": True, "side_by_side": 2},
}

pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(),
    reason="needs a CUDA device and DATM_TEST_GPU=1",
)


@pytest.fixture(autouse=True)
def _recorded() -> Iterator[None]:
    """What cannot be recorded is computed all the same: nothing else would show it."""
    before = recording_failures()
    yield
    assert recording_failures() == before


@pytest.fixture(scope="module")
def reference(
    digits: DataSet, teachers: Trajectories, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    """A run folder distilled on the CPU, and the evaluation of its set there."""
    folder = tmp_path_factory.mktemp("reference")
    made = distill(digits, teachers, TWO_SEGMENTS, out=folder, runtime=CPU)
    return folder, evaluate(made, digits, config=ONE_RATE, runtime=CPU)


def error(found: Tensor, expected: Tensor, since: Tensor | float = 0.0) -> float:
    """The distance of `found` from `expected`, as a share of the way from `since`."""
    return float((found - expected).norm() / (expected - since).norm())


def assert_taught(taught: Trajectories, teachers: Trajectories, tolerance: float) -> None:
    """Teachers went the same way."""
    for number in range(2):
        begun = teachers.weights(number, 0)
        assert torch.equal(taught.weights(number, 0), begun)
        for epoch in range(1, TEACH.epochs + 1):
            expected = teachers.weights(number, epoch)
            assert error(taught.weights(number, epoch), expected, begun) < tolerance


def assert_distilled(folder: Path, expected: Path, tolerance: float) -> None:
    """Images, labels and step size changed alike. (The last, for the best may be another one.)"""
    begun, last, wanted = (
        load_tensors(place / "distilled" / f"{name}.safetensors")
        for place, name in ((expected, "initial"), (folder, "last"), (expected, "last"))
    )
    for name in ("images", "logits", "step_size"):
        assert error(last[name], wanted[name], begun[name]) < tolerance, name


def assert_evaluated(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same networks classify at most two of the 30 test images otherwise."""
    assert [record["what"] for record in found] == [record["what"] for record in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["accuracies"] == pytest.approx(theirs["accuracies"], abs=2.1 / 30)


@pytest.mark.parametrize("how", RUNTIMES)
def test_all_stages_as_on_the_cpu(
    digits: DataSet,
    teachers: Trajectories,
    reference: tuple[Path, list[dict[str, Any]]],
    tmp_path: Path,
    how: str,
) -> None:
    runtime = Runtime(device=DEVICE, **RUNTIMES[how])
    taught = teach(digits, TEACH, out=tmp_path / "trajectories", runtime=runtime)
    assert_taught(taught, teachers, 0.01)
    for iterations in (3, 4):  # stopped and continued
        config = replace(TWO_SEGMENTS, iterations=iterations)
        made = distill(digits, teachers, config, out=tmp_path, runtime=runtime)
    assert made.images.device.type == "cpu"
    folder, expected = reference
    assert_distilled(tmp_path, folder, 0.05)
    same = DistilledSet.load(folder / "distilled")
    assert_evaluated(evaluate(same, digits, config=ONE_RATE, runtime=runtime), expected)


def test_baselines_that_take_work(
    digits: DataSet, reference: tuple[Path, list[dict[str, Any]]]
) -> None:
    every = replace(
        CONFIG,
        baselines=("random", "herding", "k-center", "dm", "dsa", "full"),
        dm=DMConfig(iterations=2),
        dsa=DSAConfig(iterations=1, outer=2, inner=1),
    )
    distilled = DistilledSet.load(reference[0] / "distilled")
    records = evaluate(distilled, digits, config=every, runtime=Runtime(device=DEVICE))
    assert [len(record["accuracies"]) for record in records] == [3, 3, 2, 3, 3, 3, 3, 3]


def inputs(network: Network, several: int, turn: int) -> tuple[Tensor, ...]:
    """Parameters, images, label logits and a direction; `several` students' or one's."""
    draw = generator(0, "inputs", several, turn)
    sides = (several,) if several else ()
    params = torch.stack([network.initial(draw) for _ in range(several or 1)])
    images = torch.randn(*sides, 10, *SHAPE, generator=draw)
    logits = torch.randn(*sides, 10, network.classes, generator=draw)
    direction = torch.randn(*sides, network.layout.total, generator=draw)
    return params.view(direction.shape), images, logits, direction


def test_recorded_again_once_all_recordings_are_gone() -> None:
    for factor in (2.0, 3.0):
        function = captured(lambda x, factor=factor: [factor * x])
        for turn in range(4):
            (found,) = function(torch.full((5,), float(turn), device=DEVICE))
            assert found.tolist() == [factor * turn] * 5
        del function, found
        gc.collect()


def descended(student: Student, turn: int) -> Callable[..., tuple[Tensor, ...]]:
    """How far two steps of training lead from parameters and a velocity: ever other rates."""
    rates, momentum, decay = [0.1 / (turn + 1), 0.01 * (turn + 1)], 0.9 - 0.2 * turn, 5e-4 * turn

    def steps(params: Tensor, images: Tensor, logits: Tensor, velocity: Tensor) -> Any:
        pairs = torch.stack([images, -images], -5), torch.stack([logits, -logits], -3)
        after, moving, total = student.descend(params, velocity, *pairs, rates, momentum, decay)
        return after - params, moving, total

    return steps


@pytest.mark.parametrize("several", [0, 3])
@pytest.mark.parametrize("spec", SPECS)
def test_every_compiled_function_through_warm_up_capture_and_replays(
    spec: str, several: int
) -> None:
    """Looked at before the next call, results are a CPU's eager ones.

    To 5%: rounding can put an input of a ReLU on the other side of zero, and a gradient jumps. A
    result that belongs to other data is wrong by its whole size.
    """
    Runtime(device=DEVICE).torch_device()
    network = make_network(spec, SHAPE, 5)
    compiled, eager = Student(student_loss(network), compile=True), Student(student_loss(network))
    judges = Predictor(network, compile=True), Predictor(network)

    def compare(function: Callable[..., Any], expected: Callable[..., Any], *given: Tensor) -> None:
        found = function(*(value.to(DEVICE) for value in given))
        pairs = zip([value.cpu() for value in found], expected(*given), strict=True)
        assert max(error(own, wanted) for own, wanted in pairs) < 0.05

    for turn in range(5):
        given = inputs(network, several, turn)
        compare(compiled.gradient, eager.gradient, *given[:3])
        compare(compiled.adjoint, eager.adjoint, *given)
        compare(compiled.adjoint_of_data, eager.adjoint_of_data, *given)
        compare(descended(compiled, turn), descended(eager, turn), *given)
        if not several:
            compare(judges[0].scores, judges[1].scores, given[0], given[1], given[1])


@pytest.mark.parametrize("several", [0, 3])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.05), ("bfloat16", 0.2)])
@pytest.mark.parametrize("spec", SPECS)
def test_whole_sweeps_through_warm_up_capture_and_replays(
    spec: str, precision: Precision, tolerance: float, several: int
) -> None:
    """Gradients of matching, on the same device eagerly."""
    Runtime(device=DEVICE, precision=precision).torch_device()
    network = make_network(spec, SHAPE, 5, precision)
    compiled, eager = Student(student_loss(network), compile=True), Student(student_loss(network))
    step_size = torch.tensor(0.01, device=DEVICE)
    for turn in range(5):
        params, images, logits, way = (x.to(DEVICE) for x in inputs(network, several, turn))
        images, logits = images.view(-1, *SHAPE), logits.view(-1, 5)
        draw = generator(0, "rows", turn)
        rows = [torch.randperm(10, generator=draw) for _ in range(3 * (several or 1))]
        batches = torch.stack(rows).view(*params.shape[:-1], 3, 10).to(DEVICE)
        given = params, params + 0.01 * way, images, logits, step_size, batches
        found, expected = (match_gradient(student, *given) for student in (compiled, eager))
        for name in ("images_grad", "logits_grad", "step_size_grad", "student"):
            assert error(getattr(found, name), getattr(expected, name)) < tolerance, (turn, name)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.1), ("tf32", 0.02)])
@pytest.mark.parametrize("how", RUNTIMES)
def test_rounded_convolutions(
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    how: str,
    precision: Precision,
    tolerance: float,
) -> None:
    runtime = Runtime(device=DEVICE, precision=precision, **RUNTIMES[how])
    taught = teach(digits, TEACH, out=tmp_path / "trajectories", runtime=runtime)
    assert_taught(taught, teachers, tolerance)
    made = distill(digits, teachers, TWO_SEGMENTS, out=tmp_path, runtime=runtime)
    assert all(bool(value.isfinite().all()) for value in (made.images, made.logits))
    for record in evaluate(made, digits, config=ONE_RATE, runtime=runtime):
        assert len(record["accuracies"]) == ONE_RATE.seeds
