"""Long tails: how many images each class keeps, which, and what stays as it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datm.data import DataSet, load_data
from datm.data.longtail import long_tail_counts
from datm.errors import InputError


def test_cifar10_lt_has_its_published_counts():
    """Factor 100 as in Cao et al. 2019, but for rounding: 2997.4, 1796.9, ... are rounded there
    to 2997, 1796, 1077, 645, 387, 232, 139, 83 and 50."""
    expected = [5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50]
    assert long_tail_counts([5000] * 10, 100) == expected


@pytest.mark.parametrize("factor", [10, 50, 200])
def test_the_ends_are_the_factor_apart(factor):
    counts = long_tail_counts([5000] * 10, factor)
    assert (counts[0], counts[-1]) == (5000, round(5000 / factor))
    assert counts == sorted(counts, reverse=True)


def test_factor_1_keeps_everything_and_no_class_keeps_more_than_it_has():
    assert long_tail_counts([7, 3, 5], 1) == [7, 3, 5]
    assert long_tail_counts([3, 100, 100], 4) == [3, 50, 25]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """32 training images of each of 3 classes, all different; 4 for test."""
    for split, count in (("train", 32), ("test", 4)):
        for k, name in enumerate(("ant", "bee", "cow")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                value = 80 * k + i + (40 if split == "test" else 0)
                Image.new("L", (4, 4), value).save(tmp_path / f"{split}/{name}/{i:02}.png")
    return tmp_path


def counts(data: DataSet) -> list[list[int]]:
    splits = (data.train, data.validation, data.test)
    return [torch.bincount(split.labels, minlength=3).tolist() for split in splits]


def values(split) -> set[int]:
    return set(split.images[:, 0, 0, 0].tolist())


def test_the_tail_is_made_before_validation_and_test_stays(folder):
    balanced = load_data(str(folder), validation=0.25)
    data = load_data(str(folder), validation=0.25, imbalance=4)
    assert counts(data) == [[24, 12, 6], [8, 4, 2], [4, 4, 4]]
    assert torch.equal(data.test.images, balanced.test.images)
    assert not values(data.train) & values(data.validation)
    assert data.notes == (
        "A long tail of imbalance 4: 56 of 96 training images are kept, by class 32, 16, 8, "
        "before validation is held out.",
    )
    assert data.fingerprint != balanced.fingerprint
    assert data.describe()["train"] == 42
    assert data.validates_by_class
    assert not balanced.validates_by_class


def test_imbalance_1_changes_nothing(folder):
    assert load_data(str(folder), imbalance=1).fingerprint == load_data(str(folder)).fingerprint


def test_validation_0_keeps_the_whole_tail(folder):
    data = load_data(str(folder), validation=0, imbalance=4)
    assert counts(data) == [[32, 16, 8], [0, 0, 0], [4, 4, 4]]


def test_the_draw_is_fixed_by_split_seed(folder):
    def kept(seed):
        return values(load_data(str(folder), validation=0, imbalance=8, split_seed=seed).train)

    assert kept(0) == kept(0)
    assert kept(0) != kept(1)
    first = {80 + i for i in range(32)}
    assert sorted(kept(0) & first) != sorted(first)[: len(kept(0) & first)]


def test_a_published_validation_split_stays_as_it_is(folder):
    (folder / "train").rename(folder / "training")
    (folder / "val").mkdir()
    for name in ("ant", "bee", "cow"):
        (folder / "val" / name).mkdir()
        for i in range(6):
            Image.new("L", (4, 4), i).save(folder / f"val/{name}/{i}.png")
    assert counts(load_data(str(folder), imbalance=4)) == [[32, 16, 8], [6] * 3, [4] * 3]
    # trained on with the rest, so part of the tail
    assert counts(load_data(str(folder), imbalance=4, validation=0))[0] == [38, 19, round(38 / 4)]


def test_a_test_split_that_is_held_out_stays_balanced(folder):
    data = load_data(str(folder / "train"), test=0.25, validation=0.25, imbalance=4)
    assert counts(data) == [[18, 9, 4], [6, 3, 2], [8, 8, 8]]


def test_class_prior_is_the_share_of_each_class_in_train(folder):
    data = load_data(str(folder), validation=0.25, imbalance=4)
    np.testing.assert_allclose(data.class_prior.numpy(), np.array([24, 12, 6]) / 42, rtol=1e-6)
    assert data.class_prior.dtype == torch.float32
    np.testing.assert_allclose(load_data("digits").class_prior.numpy(), [0.1] * 10, rtol=1e-6)


def test_a_source_with_its_own_splits_gets_a_tail_too():
    data = load_data("digits", imbalance=2)
    assert "by class 100, 93, 86, 79, 73, 68, 63, 58, 54, 50, before" in data.notes[0]


@pytest.mark.parametrize(
    ("imbalance", "message"),
    [
        (100, r"data\.imbalance: 100 leaves class 'cow' without a training image; .* at most 32"),
        (32, r"data\.validation: class 'cow' has 1 training image"),
        (0.5, r"data\.imbalance: 0\.5 is not possible"),
        (float("inf"), r"data\.imbalance: inf is not possible"),
    ],
)
def test_impossible_tails_are_refused(imbalance, message, folder):
    with pytest.raises(InputError, match=message):
        load_data(str(folder), imbalance=imbalance)
