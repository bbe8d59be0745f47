"""The gradient of the matching loss: one signature, three methods.

Shapes: P parameters, S synthetic images, N inner steps, B batch, c channels, H height, W width,
K classes, G segments side by side.
"""

import torch
from torch import Tensor

from datm.errors import InputError
from datm.matching import cui2023tesla, exact, unrolled
from datm.matching.config import Method
from datm.matching.data_loss import DataLoss
from datm.matching.distance import Distance, Way
from datm.matching.objective import StudentLoss
from datm.matching.problem import Augment, MatchGradient, Problem
from datm.matching.student import Student

METHODS = {"exact": exact.solve, "tesla": cui2023tesla.solve, "unrolled": unrolled.solve}


def match_gradient(
    student_loss: StudentLoss | Student,
    start: Tensor,
    target: Tensor | DataLoss,
    images: Tensor,
    logits: Tensor,
    step_size: Tensor,
    batches: Tensor,
    method: Method = "exact",
    augment: Augment | None = None,
    distance: Distance | None = None,
    first: int = 0,
) -> MatchGradient:
    """Train a student N steps from `start` on the synthetic images; differentiate its distance.

    The student takes theta_{i+1} = theta_i - step_size * grad_theta l(theta_i; batch i), and
    L = ||theta_N - target||^2 / ||start - target||^2 (Cazenavette 2022, eq. 2) is differentiated
    with respect to images, logits and step size.

    Args:
        student_loss: l(params [P], images [B, c, H, W], logits [B, K]) -> scalar, or a `Student`.
        start, target: [P], the ends of a teacher's segment; images: [S, c, H, W]; logits: [S, K];
        step_size: scalar tensor; batches: int64 [N, B], rows of `images` for each inner step.
            In place of a target: a loss on real images (Wang 2018), which then is L.
        method: "exact", the exact gradient by an adjoint recursion: N parameter vectors and one
            step's activations in memory; about 3 + 8 forward passes' work per step.
            "tesla" (Cui 2023): each theta_i taken as a constant; the same memory, a little less
            work, and not the gradient for N > 1.
            "unrolled" (Cazenavette 2022): autograd through all steps; N steps' activations in
            memory. The oracle for the others.
        augment: applied to each inner step's images, differentiably (default: none).
        distance: what counts of the way to the target (default: all of it).
        first: the first step that is differentiated, those before it are only taken: truncated
            backpropagation (Feng 2023).

    Several segments go side by side in one call ("exact" and "tesla"): start and target [G, P],
    batches [G, N, B]; each result then has a leading axis G.

    Raises InputError if shapes do not fit together or the method is unknown. (Values are looked at
    on a CPU only: a GPU would have to be waited for.)

    On a GPU PyTorch's own switches hold, which let float32 convolutions use TF32 by default;
    `Runtime.torch_device`, which every stage of datm calls, sets them.
    """
    if method not in METHODS:
        raise InputError(f"method: {method!r} is not known; use {', '.join(METHODS)}.")
    _check(start, target, images, logits, step_size, batches, first)
    if start.ndim > 1 and method == "unrolled":
        raise InputError("method: 'unrolled' takes one segment at a time; give start as [P].")
    student = student_loss if isinstance(student_loss, Student) else Student(student_loss)
    if isinstance(target, Tensor):
        outer: Way | DataLoss = Way(distance or Distance(), start.detach(), target.detach())
    else:
        outer = target
    problem = Problem(
        student, start, images, logits, step_size, batches, augment or _unchanged, outer, first
    )
    return METHODS[method](problem)


def _unchanged(step: int, images: Tensor) -> Tensor:
    return images


def _check(
    start: Tensor,
    target: Tensor | DataLoss,
    images: Tensor,
    logits: Tensor,
    step_size: Tensor,
    batches: Tensor,
    first: int,
) -> None:
    if not isinstance(step_size, Tensor):
        raise InputError(f"step_size: {step_size!r} is no tensor; give torch.tensor({step_size}).")
    values = {"start": start, "images": images, "logits": logits, "step_size": step_size}
    for name, value in values.items():
        _check_type(name, value, start)
    if isinstance(target, Tensor):
        _check_target(start, target)
    if len(images) != len(logits):
        raise InputError(
            f"images, logits: {len(images)} images but {len(logits)} labels; give one each."
        )
    if step_size.ndim:
        raise InputError(
            f"step_size: shape {tuple(step_size.shape)} is no scalar; give a tensor without axes."
        )
    _check_batches(batches, start.shape[:-1], len(images))
    if not 0 <= first < batches.shape[-2]:
        raise InputError(
            f"first: {first} is none of the {batches.shape[-2]} steps; give 0 to differentiate all."
        )


def _check_type(name: str, value: Tensor, start: Tensor) -> None:
    if not value.is_floating_point() or value.dtype != start.dtype:
        raise InputError(
            f"{name}: {value.dtype} does not go with start's {start.dtype};"
            " give start, target, images, logits, step_size in one floating-point type."
        )


def _check_target(start: Tensor, target: Tensor) -> None:
    _check_type("target", target, start)
    if start.ndim not in (1, 2) or start.shape != target.shape:
        raise InputError(
            f"start, target: shapes {tuple(start.shape)} and {tuple(target.shape)}"
            " are not one [P]; give two flat parameter vectors of one network."
        )
    if not start.is_cuda and bool((start == target).all(-1).any()):
        raise InputError(
            "start, target: are equal, so no distance is left to close;"
            " give the ends of a segment in which the teacher moved."
        )


def _check_batches(batches: Tensor, sides: torch.Size, count: int) -> None:
    fits = batches.ndim == len(sides) + 2 and batches.shape[: len(sides)] == sides
    if not fits or batches.dtype != torch.int64 or not batches.numel():
        raise InputError(
            f"batches: {batches.dtype} {tuple(batches.shape)} is no int64"
            f" {'[G, N, B]' if sides else '[N, B]'} with N and B at least 1; give row numbers of"
            " images."
        )
    if batches.is_cuda:
        return
    low, high = int(batches.min()), int(batches.max())
    if low < 0 or high >= count:
        raise InputError(
            f"batches: row numbers {low} to {high} do not fit {count} images;"
            f" give numbers from 0 to {count - 1}."
        )
