"""Which images stand in which batch: permutation after permutation, cut into chunks of B.

And how many such batches are worked on at once.

Shapes: n images, B batch.
"""

import math

import torch
from torch import Tensor

from datm.runtime.seeds import generator

BLOCK, GPU_BLOCK = 2**20, 2**26
"""Numbers in the images of the steps that are done at once: 4 MB in float32; 256 on a GPU."""

STEPS_AT_ONCE = 32
"""Of a training, at most: short enough that its second run, which a GPU records, comes soon."""


def blocks(steps: range, numbers: int, on_gpu: bool) -> list[range]:
    """The inner steps of a student in runs that are done at once, about equal.

    numbers: in the images of a step. A GPU records each length by itself, and students of one job
    take as many steps each.
    """
    n = math.ceil(len(steps) / max(1, math.ceil(len(steps) / _fit(numbers, on_gpu))))
    return [steps[first : first + n] for first in range(0, len(steps), max(1, n))]


def training_blocks(steps: range, numbers: int, on_gpu: bool) -> list[range]:
    """The steps of a training in runs of powers of two: few lengths, however many steps there are.

    numbers: in the images of a step.
    """
    longest = 1 << min(STEPS_AT_ONCE, _fit(numbers, on_gpu)).bit_length() - 1
    found, first = [], 0
    while left := len(steps) - first:
        n = min(longest, 1 << left.bit_length() - 1)
        found.append(steps[first : first + n])
        first += n
    return found


def _fit(numbers: int, on_gpu: bool) -> int:
    return max(1, (GPU_BLOCK if on_gpu else BLOCK) // numbers)


class BatchStream:
    """An endless sequence of batches over n images, a pure function of the seed and path.

    Permutations of all n images stand one behind the other; batch s takes positions s*B to
    (s+1)*B - 1. So every image is seen once in every n positions, every batch has the same size,
    and any batch can be had without the ones before it.
    """

    def __init__(self, count: int, batch: int, seed: int, *path: str | int) -> None:
        self.count = count
        self.batch = min(batch, count)
        self._seed = seed
        self._path = path
        self._permutations: dict[int, Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the images, to the nearest whole number."""
        return max(1, round(self.count / self.batch))

    def __getitem__(self, step: int) -> Tensor:
        """Row numbers [B] int64 of batch `step`."""
        first = step * self.batch
        last = first + self.batch - 1
        rounds = range(first // self.count, last // self.count + 1)
        positions = torch.cat([self._permutation(number) for number in rounds])
        offset = first - rounds[0] * self.count
        return positions[offset : offset + self.batch]

    def stack(self, steps: range) -> Tensor:
        """The batches of n `steps` as one tensor [n, B]."""
        return torch.stack([self[step] for step in steps])

    def _permutation(self, number: int) -> Tensor:
        if number not in self._permutations:
            # Two suffice: a batch, at most n long, touches no more.
            while len(self._permutations) > 1:
                del self._permutations[min(self._permutations)]
            draw = generator(self._seed, *self._path, number)
            self._permutations[number] = torch.randperm(self.count, generator=draw)
        return self._permutations[number]
