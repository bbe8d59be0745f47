"""Batches: permutation after permutation, cut into equal chunks, each to be had by itself."""

from collections.abc import Callable

import pytest
import torch

from datm import batches
from datm.batches import BatchStream, blocks, training_blocks

SIZES = [(1, 1), (2, 1), (7, 3), (7, 7), (10, 4), (10, 5), (12, 11)]


@pytest.mark.parametrize(("count", "batch"), SIZES)
def test_every_image_once_in_every_count_positions(count: int, batch: int) -> None:
    stream = BatchStream(count, batch, 0, "order")
    positions = torch.cat([stream[step] for step in range(5 * count)])
    assert positions.dtype == torch.int64
    for chunk in positions.view(-1, count):
        assert sorted(chunk.tolist()) == list(range(count))


@pytest.mark.parametrize(("count", "batch"), SIZES)
def test_a_batch_does_not_depend_on_the_ones_asked_for_before(count: int, batch: int) -> None:
    stream = BatchStream(count, batch, 3, "order")
    in_order = [stream[step] for step in range(40)]
    jumps = torch.randperm(40, generator=torch.Generator().manual_seed(0)).tolist()
    for step in jumps:
        assert torch.equal(stream[step], in_order[step])
        assert torch.equal(BatchStream(count, batch, 3, "order")[step], in_order[step])


@pytest.mark.parametrize("batch", [7, 8, 1000])
def test_a_batch_holds_every_image_at_most_once_where_it_can(batch: int) -> None:
    stream = BatchStream(7, batch, 0)
    assert stream.batch == 7
    assert stream.steps_per_epoch == 1
    for step in range(5):
        assert sorted(stream[step].tolist()) == list(range(7))


def test_batches_have_one_size_and_stack() -> None:
    stream = BatchStream(10, 4, 0, "order")
    stacked = stream.stack(range(7))
    assert stacked.shape == (7, 4)
    assert all(torch.equal(stacked[step], stream[step]) for step in range(7))


@pytest.mark.parametrize(
    ("count", "batch", "steps"),
    [(100, 10, 10), (100, 30, 3), (100, 40, 2), (100, 60, 2), (100, 70, 1), (100, 100, 1)],
)
def test_steps_per_epoch_is_the_nearest_whole_number(count: int, batch: int, steps: int) -> None:
    assert BatchStream(count, batch, 0).steps_per_epoch == steps


def test_orders_differ_by_seed_path_and_round() -> None:
    rounds = BatchStream(50, 50, 0, "a").stack(range(3))
    others = [BatchStream(50, 50, 1, "a")[0], BatchStream(50, 50, 0, "b")[0]]
    orders = {tuple(order.tolist()) for order in [*rounds, *others]}
    assert len(orders) == 5


def test_every_order_is_equally_likely() -> None:
    """The first place of 2,000 rounds, against five standard deviations of a binomial count."""
    firsts = torch.stack([BatchStream(5, 5, seed)[0] for seed in range(2000)])[:, 0]
    counts = firsts.bincount(minlength=5)
    assert ((counts - 400).abs() < 5 * 400**0.5).all()


@pytest.mark.parametrize(
    ("divided", "numbers", "steps", "fit", "sizes"),
    [
        (blocks, 1000, 80, 21, [20, 20, 20, 20]),  # not 21 thrice and 17: a GPU records each size
        (blocks, 10, 80, 2184, [80]),
        (blocks, 1000, 7, 3, [3, 3, 1]),
        (blocks, 1000, 3, 0, [1, 1, 1]),
        (blocks, 1000, 0, 3, []),
        # However many steps, powers of two are six sizes at most.
        (training_blocks, 10, 176, 85, [32, 32, 32, 32, 32, 16]),
        (training_blocks, 10, 177, 85, [32, 32, 32, 32, 32, 16, 1]),
        (training_blocks, 10, 13, 2184, [8, 4, 1]),
        (training_blocks, 1000, 13, 7, [4, 4, 4, 1]),
        (training_blocks, 1000, 3, 0, [1, 1, 1]),
        (training_blocks, 1000, 0, 3, []),
    ],
)
def test_steps_are_done_in_runs_of_few_sizes(
    divided: Callable[..., list[range]],
    numbers: int,
    steps: int,
    fit: int,
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "BLOCK", fit * numbers)
    found = divided(range(5, 5 + steps), numbers, False)
    assert [len(block) for block in found] == sizes
    assert [step for block in found for step in block] == list(range(5, 5 + steps))


@pytest.mark.parametrize("divided", [blocks, training_blocks])
def test_a_gpu_does_more_at_once(divided: Callable[..., list[range]]) -> None:
    counts = [len(divided(range(64), 2**16, on_gpu)) for on_gpu in (False, True)]
    assert counts[0] == 4
    assert counts[1] == (1 if divided is blocks else 2)
