"""How closely students of a set follow the teachers' segments, and what keeps them from it.

    python benchmarks/following.py RUN/distilled TRAJECTORIES --epochs 0 5 10 --step_size 0.028

From every start epoch of a few teachers several students are trained on the set, each with batches
and augmentations of its own. Their matching loss (Cazenavette 2022, eq. 2) is what they differ by,
the noise, and what their mean is off by. Teachers that the set was not distilled from show whether
it knows only its own. The step size is the learned one, which the run's metrics name: the set's own
is for readers. Ends in a markdown table, the mean over the teachers.

Shapes: P parameters, N inner steps, B batch.
"""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from datm import DistilledSet, InputError, Trajectories
from datm.augment import Augmentations, draw_augmentation
from datm.batches import BatchStream
from datm.matching import Student, student_loss
from datm.networks import make_network
from datm.runtime.seeds import generator


@dataclass(frozen=True)
class Followed:
    """Several students of one segment; squared lengths in units of the segment's own.

    loss: the mean matching loss, noise + off; noise: the students' variance; off: their mean's
    distance from the segment's end; way: the length of the mean's way from the start (not squared);
    cosine: of that way and the teacher's.
    """

    loss: float
    noise: float
    off: float
    way: float
    cosine: float


def followed(ends: Tensor, start: Tensor, target: Tensor) -> Followed:
    """What students that began at `start` [P] and ended at `ends` [k, P] made of the segment.

    k > 1 students; noise and off are free of bias: `off` is that of infinitely many students' mean.
    """
    way, mean = target - start, ends.mean(0)
    length = way.square().sum()
    loss = (ends - target).square().sum(1).mean() / length
    noise = (ends - mean).square().sum() / (len(ends) - 1) / length
    moved = mean - start
    cosine = torch.cosine_similarity(moved, way, dim=0)
    found = loss, noise, loss - noise, moved.norm() / length.sqrt(), cosine
    return Followed(*(float(figure) for figure in found))


def train(
    student: Student,
    start: Tensor,
    of: DistilledSet,
    augmentation: str,
    options: argparse.Namespace,
) -> Tensor:
    """The parameters [k, P] of `options.students` students after N steps from `start` [P]."""
    step_size, steps = torch.tensor(options.step_size), range(options.inner_steps)
    ends = []
    for number in range(options.students):
        stream = BatchStream(len(of), options.batch, options.seed, "batches", number)
        draw = generator(options.seed, "augment", number)
        draws = [draw_augmentation(augmentation, stream.batch, draw) for _ in steps]
        batches, augment = stream.stack(steps), Augmentations.of(draws)
        images = augment.block(0, of.images[batches])
        ends.append(student.advance(start, images, of.logits[batches], step_size)[-1])
    return torch.stack(ends)


def table(rows: dict[int, list[Followed]]) -> str:
    """By start epoch, the means over the teachers as markdown."""
    names = [field.name for field in fields(Followed)]
    lines = [f"| epoch | {' | '.join(names)} |", f"| --- {'| --- ' * len(names)}|"]
    for epoch, own in rows.items():
        means = [sum(getattr(one, name) for one in own) / len(own) for name in names]
        lines.append(f"| {epoch} | {' | '.join(f'{mean:.2f}' for mean in means)} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set", type=Path, help="a distilled set's folder")
    parser.add_argument("trajectories", type=Path)
    parser.add_argument("--epochs", type=int, nargs="+", required=True, help="start epochs")
    parser.add_argument("--step_size", type=float, required=True)
    parser.add_argument("--inner_steps", type=int, default=40, help="N")
    parser.add_argument("--batch", type=int, default=50, help="B")
    parser.add_argument("--teacher_epochs", type=int, default=1, help="M, epochs of a segment")
    parser.add_argument("--teachers", type=int, default=2, help="so many, the first ones")
    parser.add_argument("--students", type=int, default=6, help="of each segment, at least 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    if options.students < 2:
        parser.error("--students: noise is a difference between students; give at least 2.")
    return options


def measure(options: argparse.Namespace) -> dict[int, list[Followed]]:
    """Every segment's `Followed`, by start epoch."""
    torch.set_num_threads(options.threads)
    of, trajectories = DistilledSet.load(options.set), Trajectories.open(options.trajectories)
    last = max(options.epochs) + options.teacher_epochs
    if last > trajectories.epochs:
        raise SystemExit(
            f"{options.trajectories}: ends at epoch {trajectories.epochs}, not {last}."
        )
    shape = tuple(of.images.shape[1:])
    precision = trajectories.manifest["precision"]
    network = make_network(trajectories.network, shape, len(of.classes), precision)
    student = Student(student_loss(network), options.compile)
    rows: dict[int, list[Followed]] = {}
    for epoch in options.epochs:
        for teacher in range(min(options.teachers, len(trajectories))):
            ends = trajectories.segment(teacher, epoch, options.teacher_epochs)
            students = train(student, ends[0], of, trajectories.augmentation, options)
            rows.setdefault(epoch, []).append(followed(students, *ends))
    return rows


def main() -> None:
    try:
        print(table(measure(parse())))
    except InputError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
