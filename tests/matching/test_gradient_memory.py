"""Memory of one matching gradient: N parameter vectors and one step's activations."""

import pytest
import torch
from matching_problems import Segment, random_segment

from allocations import allocated
from datm import batches
from datm.matching import Student

STEPS = (2, 4, 12)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are augmented together up to a fixed size: here that of two, as so small a problem
    would fit into one block whatever its steps."""
    monkeypatch.setattr(batches, "BLOCK", 2 * 5 * 3 * 16 * 16)


def segment_of(steps: int) -> Segment:
    return random_segment(
        0, steps, 5, spec="convnet-2,width=8", shape=(3, 16, 16), strategy="scale"
    )


def peak(method: str, steps: int) -> int:
    segment = segment_of(steps)
    segment.match(method)  # what is made once and kept is no part of a gradient's memory
    highest, left = allocated(lambda: segment.match(method))
    assert left == sum(value.nbytes for value in vars(segment.match(method)).values())
    return highest


def test_the_count_is_right_where_it_is_known() -> None:
    ones = torch.ones(1000, dtype=torch.float64)
    highest, left = allocated(lambda: (ones * 2)[10:20] + 0.5)
    assert left == 80
    assert 8080 <= highest < 8200


@pytest.mark.parametrize("method", ["exact", "tesla"])
def test_memory_grows_by_one_parameter_vector_a_step(method: str) -> None:
    vector = segment_of(1).start.nbytes
    few, more, most = (peak(method, steps) for steps in STEPS)
    assert more - few == pytest.approx(2 * vector, rel=0.01)
    assert most - more == pytest.approx(8 * vector, rel=0.01)
    # One step's activations are the rest: many times what the vectors take.
    assert few > 50 * vector


def test_a_whole_gradient_takes_little_more_than_its_costliest_step() -> None:
    """At most half as much again as one step's adjoint, beside the N parameter vectors."""
    steps = STEPS[-1]
    segment = segment_of(steps)
    student, rows = Student(segment.loss), segment.batches[0]
    inputs = segment.start, segment.images[rows], segment.logits[rows], segment.target
    student.adjoint(*inputs)
    adjoint, _ = allocated(lambda: student.adjoint(*inputs))
    assert peak("exact", steps) < 1.5 * adjoint + steps * segment.start.nbytes


def test_memory_of_unrolled_grows_by_a_steps_activations() -> None:
    """The count can tell: the oracle keeps far more of each step than a parameter vector."""
    vector = segment_of(1).start.nbytes
    few, more, most = (peak("unrolled", steps) for steps in STEPS)
    assert more - few > 2 * 50 * vector
    assert most - more > 8 * 50 * vector
