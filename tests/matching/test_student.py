"""Any functional student; nothing given is changed and no graph is left."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from matching_problems import CLASSES, Segment, differences, random_segment
from torch import Tensor, nn
from torch.func import functional_call

from datm.matching import Student, match_gradient, soft_cross_entropy

METHODS = ["exact", "tesla", "unrolled"]


class Perceptron(nn.Module):
    """A user's own module, which knows nothing of datm."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.output(torch.tanh(self.hidden(images.flatten(1))))


def perceptron_segment(steps: int) -> Segment:
    """A random segment whose student is a `Perceptron` through functional_call."""
    segment = random_segment(4, steps, 3)
    module = Perceptron(3 * 8 * 8, 10, CLASSES).double()
    shapes = {name: value.shape for name, value in module.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def loss(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        parts = zip(shapes.items(), params.split(sizes), strict=True)
        named = {name: part.view(shape) for (name, shape), part in parts}
        return soft_cross_entropy(functional_call(module, named, (images,)), logits)

    draw = torch.Generator().manual_seed(1)
    start = torch.randn(sum(sizes), generator=draw, dtype=torch.float64) / 10
    target = start + torch.randn(len(start), generator=draw, dtype=torch.float64) / 10
    return replace(segment, loss=loss, start=start, target=target)


def test_a_users_own_module() -> None:
    segment = perceptron_segment(6)
    found = differences(segment.match("exact"), segment.match("unrolled"))
    assert max(found.values()) < 1e-10, found


@pytest.mark.parametrize("method", METHODS)
def test_student_steps_are_those_of_torch_sgd(method: str) -> None:
    segment = perceptron_segment(5)
    params = segment.start.clone().requires_grad_()
    optimiser = torch.optim.SGD([params], lr=float(segment.step_size))
    for step, rows in enumerate(segment.batches):
        optimiser.zero_grad()
        images = segment.augment(step, segment.images[rows])
        segment.loss(params, images, segment.logits[rows]).backward()
        optimiser.step()
    gradient = segment.match(method)
    torch.testing.assert_close(gradient.student, params.detach(), rtol=1e-12, atol=1e-14)
    moved, whole = params.detach() - segment.target, segment.start - segment.target
    assert float(gradient.loss) == pytest.approx(float(moved.norm() / whole.norm()) ** 2)


@pytest.mark.parametrize("method", METHODS)
def test_a_student_that_ignores_the_labels_has_no_label_gradient(method: str) -> None:
    segment = perceptron_segment(3)

    def unlabelled(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        return segment.loss(params, images, torch.ones_like(logits))

    gradient = segment.match(method, loss=unlabelled)
    assert gradient.logits_grad.shape == segment.logits.shape
    assert (gradient.logits_grad == 0).all()
    assert gradient.images_grad.norm() > 0


@pytest.mark.parametrize("method", METHODS)
def test_inputs_stay_as_they_are_and_no_graph_is_left(method: str) -> None:
    segment = random_segment(6, 3, 3)
    names = "start", "target", "images", "logits", "step_size"
    before = {name: getattr(segment, name).clone() for name in names}
    for name in names:
        getattr(segment, name).requires_grad_()
    gradient = segment.match(method)
    for name in names:
        assert torch.equal(getattr(segment, name), before[name])
        assert getattr(segment, name).grad is None
    for name, value in vars(gradient).items():
        assert not value.requires_grad, name
        assert value.grad_fn is None, name
    shapes = {
        "loss": (),
        "images_grad": segment.images.shape,
        "logits_grad": segment.logits.shape,
        "step_size_grad": (),
        "student": segment.start.shape,
    }
    assert {name: value.shape for name, value in vars(gradient).items()} == shapes


@pytest.mark.parametrize("method", METHODS)
def test_inference_mode_of_the_caller_does_not_matter(method: str) -> None:
    segment = random_segment(6, 3, 3)
    expected = segment.match(method)
    with torch.no_grad():
        found = differences(segment.match(method), expected)
    assert max(found.values()) == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_same_call_gives_the_same_bits(method: str) -> None:
    segment = random_segment(7, 4, 3)
    first, second = segment.match(method), segment.match(method)
    assert all(
        torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
    )


def test_student_derivatives_against_autograd() -> None:
    segment = random_segment(2, 1, 5, strategy="none")
    student = Student(segment.loss)
    rows = segment.batches[0]
    leaves = [segment.start, segment.images[rows], segment.logits[rows]]
    params, images, logits = (leaf.clone().requires_grad_() for leaf in leaves)
    direction = segment.target - segment.start
    loss = segment.loss(params, images, logits)
    (g,) = torch.autograd.grad(loss, params, create_graph=True)
    h = (g * direction).sum()
    by_params, by_images, by_logits = torch.autograd.grad(h, (params, images, logits))

    inputs = [leaf.clone() for leaf in leaves]
    assert student(*inputs) == loss
    torch.testing.assert_close(student.gradient(*inputs), (g.detach(), loss.detach()))
    adjoint = (h.detach(), by_params, by_images, by_logits)
    torch.testing.assert_close(student.adjoint(*inputs, direction), adjoint)
    of_data = (h.detach(), by_images, by_logits)
    torch.testing.assert_close(student.adjoint_of_data(*inputs, direction), of_data)


def test_labels_may_be_class_numbers() -> None:
    """Hard labels (Cazenavette 2022), as numbers [S, 1], in a student of one's own."""
    segment = random_segment(3, 4, 3, strategy="none")
    numbers = segment.logits.argmax(1, keepdim=True).double()
    size = 20 * CLASSES

    def hard(params: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        scores = images.flatten(1)[:, :20] @ params.view(20, CLASSES)
        return F.cross_entropy(scores, labels[:, 0].long())

    gradients = [
        match_gradient(
            hard,
            segment.start[:size],
            segment.target[:size],
            segment.images,
            numbers,
            segment.step_size,
            segment.batches,
            method,
        )
        for method in ("exact", "unrolled")
    ]
    assert (gradients[0].logits_grad == 0).all()
    assert (gradients[1].logits_grad == 0).all()
    torch.testing.assert_close(gradients[0].images_grad, gradients[1].images_grad)


def test_steps_together_are_steps_one_by_one() -> None:
    """n steps on and back, with and without the way through the parameters, are those of one."""
    segment = random_segment(0, 4, 5, spec="convnet-1,width=4", shape=(3, 8, 8))
    student, alpha = Student(segment.loss), segment.step_size
    images, logits = segment.images[segment.batches], segment.logits[segment.batches]
    places = [segment.start]
    for own in zip(images, logits, strict=True):
        places.append(places[-1] - alpha * student.gradient(places[-1], *own)[0])
    together = student.advance(segment.start, images, logits, alpha)
    assert all(torch.equal(*pair) for pair in zip(together, places[1:], strict=True))
    for through_parameters in (True, False):
        direction, total = segment.target, torch.zeros((), dtype=images.dtype)
        by_images, by_logits = torch.empty_like(images), torch.empty_like(logits)
        for k in reversed(range(4)):
            h, by_params, by_images[k], by_logits[k] = student.adjoint(
                places[k], images[k], logits[k], direction
            )
            total += h
            if through_parameters:
                direction = direction - alpha * by_params
        found = student.retreat(
            places[:-1], images, logits, segment.target, alpha, through_parameters
        )
        for ours, expected in zip(found, (direction, by_images, by_logits, total), strict=True):
            torch.testing.assert_close(ours, expected)
