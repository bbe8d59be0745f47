"""Several segments in one sweep against one at a time."""

from dataclasses import fields, replace

import pytest
import torch
from matching_problems import Segment, differences, random_segment
from torch import Tensor
from torch._C._functorch import TransformType
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters

from datm.augment import SideBySide
from datm.errors import InputError
from datm.matching import MatchGradient, Student, match_gradient, student

SPECS = [
    "convnet-2,width=6",
    "convnet-1,width=4,norm=batch",
    "convnet-1,width=4,norm=group,pooling=max",
    "convnet-1,width=4,norm=layer",
    "convnet-1,width=4,norm=none,pooling=none",
]


def matched(segments: list[Segment], method: str, student: Student) -> MatchGradient:
    """All segments in one call; they share the images, labels and step size of the first."""
    first = segments[0]

    return match_gradient(
        student,
        torch.stack([segment.start for segment in segments]),
        torch.stack([segment.target for segment in segments]),
        first.images,
        first.logits,
        first.step_size,
        torch.stack([segment.batches for segment in segments]),
        method,
        first.augment and SideBySide(tuple(segment.augment for segment in segments)),
    )


def under_vmap() -> bool:
    stack = retrieve_all_functorch_interpreters()
    return any(own.key() == TransformType.Vmap for own in stack)


def segments_of(spec: str) -> list[Segment]:
    first = random_segment(0, 4, 3, spec=spec)
    shared = {name: getattr(first, name) for name in ("images", "logits", "step_size")}
    return [replace(random_segment(seed, 4, 3, spec=spec), **shared) for seed in range(3)]


@pytest.mark.parametrize("method", ["exact", "tesla"])
@pytest.mark.parametrize("spec", SPECS)
def test_side_by_side_equals_one_at_a_time(spec: str, method: str) -> None:
    segments = segments_of(spec)
    whole = matched(segments, method, Student(segments[0].loss))
    for number, segment in enumerate(segments):
        own = MatchGradient(*(getattr(whole, field.name)[number] for field in fields(whole)))
        found = differences(own, segment.match(method))
        assert max(found.values()) < 1e-10, found


@pytest.mark.parametrize("method", ["exact", "tesla"])
def test_one_side_by_side_is_one_to_the_bit(method: str) -> None:
    """A leading axis of 1 adds an axis to the results, and no arithmetic of its own."""
    segment = segments_of(SPECS[1])[0]
    whole, alone = matched([segment], method, Student(segment.loss)), segment.match(method)
    for field in fields(whole):
        found, expected = getattr(whole, field.name), getattr(alone, field.name)
        assert torch.equal(found, expected.unsqueeze(0)), field.name


def test_one_student_is_never_vmapped() -> None:
    """So that a compiled student for one serves both forms."""
    segment = random_segment(2, 1, 5, strategy="none")
    calls = []

    def loss(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        calls.append(under_vmap())
        return segment.loss(params, images, logits)

    rows = segment.batches[0]
    inputs = [segment.start, segment.images[rows], segment.logits[rows]]
    student = Student(loss)
    alone = student.gradient(*inputs)
    one = student.gradient(*(value.unsqueeze(0) for value in inputs))
    assert not any(calls)
    for found, expected in zip(one, alone, strict=True):
        assert torch.equal(found, expected.unsqueeze(0))


@pytest.mark.parametrize("method", ["exact", "tesla"])
def test_compiled_on_a_gpu_each_student_runs_the_function_of_one(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the GPU runs them one after the other, and for the compiler nothing."""
    segments = segments_of(SPECS[0])
    vmapped = []

    def loss(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        vmapped.append(under_vmap())
        return segments[0].loss(params, images, logits)

    monkeypatch.setattr(student, "compiled", lambda function: function)
    monkeypatch.setattr(student, "at_once", lambda f, each: [f(*own) for own in each])
    monkeypatch.setattr(student, "on_gpu", lambda tensor: True)
    found = matched(segments, method, Student(loss, compile=True))
    assert not any(vmapped)
    monkeypatch.setattr(student, "on_gpu", lambda tensor: False)
    expected = matched(segments, method, Student(loss, compile=True))
    assert any(vmapped)
    for field in fields(found):
        own, whole = getattr(found, field.name), getattr(expected, field.name)
        assert own.shape == whole.shape
        assert torch.allclose(own, whole, rtol=1e-10, atol=1e-12), field.name


def test_the_oracle_takes_one_segment() -> None:
    segments = segments_of(SPECS[0])
    with pytest.raises(InputError, match="'unrolled' takes one segment at a time"):
        matched(segments, "unrolled", Student(segments[0].loss))


@pytest.mark.parametrize("which", [0, 2])
def test_one_segment_without_distance_is_refused(which: int) -> None:
    segments = segments_of(SPECS[0])
    segments[which] = replace(segments[which], target=segments[which].start)
    with pytest.raises(InputError, match="are equal, so no distance is left to close"):
        matched(segments, "exact", Student(segments[0].loss))


def test_batches_need_the_segments_axis() -> None:
    first, second, _ = segments_of(SPECS[0])
    starts = torch.stack([first.start, second.start])
    with pytest.raises(InputError, match=r"is no int64 \[G, N, B\]"):
        match_gradient(
            first.loss,
            starts,
            starts + 1,
            first.images,
            first.logits,
            first.step_size,
            first.batches,
        )
