"""Scores and accuracy over many images: chunks, batch statistics of a reference, compiled."""

import shutil

import pytest
import torch
from torch import Tensor

from datm.networks import Predictor, accuracy, make_network
from datm.networks.accuracy import CHUNK
from datm.runtime.seeds import generator

SHAPE = (3, 8, 8)


def images_of(count: int, seed: int = 0) -> Tensor:
    return torch.randn((count, *SHAPE), generator=generator(seed, "images"))


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7])
def test_scores_are_the_networks_whatever_the_chunks(count: int) -> None:
    network = make_network("convnet-1,width=4", SHAPE, 5)
    params, images = network.initial(generator(1)), images_of(count)
    scores = Predictor(network).scores(params, images, images)
    torch.testing.assert_close(scores, network(params, images))


def test_accuracy_is_the_share_of_hits() -> None:
    network = make_network("convnet-1,width=4", SHAPE, 5)
    params, images = network.initial(generator(1)), images_of(10)
    best = network(params, images).argmax(1)
    labels = best.clone()
    labels[:3] = (labels[:3] + 1) % 5
    predictor = Predictor(network)
    assert predictor.accuracy(params, images, best, images) == 1
    assert predictor.accuracy(params, images, labels, images) == 0.7


def test_accuracy_by_class_is_the_mean_of_the_classes_own() -> None:
    """Class 3 is hit 2 of 4 times, class 4 once of once; the others are not there."""
    images, labels = images_of(5), torch.tensor([3, 3, 3, 3, 4])
    predictor = Predictor(lambda params, images: params[: len(images)])
    predictor.network.statistics = lambda params, images: []
    scores = torch.eye(5)[[3, 3, 0, 4, 4]]
    assert predictor.accuracy(scores, images, labels, images) == pytest.approx(3 / 5)
    by_class = predictor.accuracy(scores, images, labels, images, by_class=True)
    assert by_class == pytest.approx((1 / 2 + 1) / 2)


def test_batch_norm_takes_the_references_statistics_never_the_judged_images() -> None:
    network = make_network("convnet-2,width=4,norm=batch", SHAPE, 5)
    params = network.initial(generator(1))
    reference, images = images_of(60, 1), 3 * images_of(CHUNK + 9) + 1
    predictor = Predictor(network)
    scores = predictor.scores(params, images, reference)
    expected = network(params, images, network.statistics(params, reference))
    torch.testing.assert_close(scores, expected)
    alone = predictor.scores(params, images[5:6], reference)
    torch.testing.assert_close(alone, scores[5:6])


def test_statistics_of_a_large_reference_are_those_of_a_fair_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images often stand in class order: the first ones must not speak for all."""
    network = make_network("convnet-1,width=4,norm=batch", SHAPE, 5)
    params = network.initial(generator(1))
    reference = images_of(4000) + torch.linspace(-3, 3, 4000).view(-1, 1, 1, 1)
    monkeypatch.setattr(accuracy, "STATISTICS_PIXELS", 1000 * 8 * 8)
    whole = network(params, reference[:9], network.statistics(params, reference))
    sample = Predictor(network).scores(params, reference[:9], reference)
    first = network(params, reference[:9], network.statistics(params, reference[:1000]))
    error = (sample - whole).norm() / whole.norm()
    assert 0 < error < 0.05
    assert (first - whole).norm() / whole.norm() > 0.3
    again = Predictor(network).scores(params, reference[:9], reference)
    assert torch.equal(again, sample)


def test_without_batch_norm_the_reference_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of CIFAR-10 is a permutation of 50,000 and a copy of 2,048 images."""
    sampled = []
    monkeypatch.setattr(accuracy, "_sample", lambda images: sampled.append(images) or images)
    images = images_of(9)
    for norm, samples in (("instance", 0), ("batch", 1)):
        network = make_network(f"convnet-1,width=4,norm={norm}", SHAPE, 5)
        Predictor(network).scores(network.initial(generator(1)), images, images)
        assert len(sampled) == samples


def test_no_graph_is_left() -> None:
    network = make_network("convnet-1,width=4", SHAPE, 5)
    params = network.initial(generator(1)).requires_grad_()
    images = images_of(3)
    assert not Predictor(network).scores(params, images, images).requires_grad


@pytest.mark.skipif(not shutil.which("g++"), reason="compiling needs g++, which is not installed")
def test_compiled_scores_are_the_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over a last chunk that is short, and once more under other parameters."""
    monkeypatch.setattr(accuracy, "CHUNK", 20)
    network = make_network("convnet-1,width=4", SHAPE, 5)
    eager, compiled = Predictor(network), Predictor(network, compile=True)
    images = images_of(50)
    for seed in range(2):
        params = network.initial(generator(seed))
        expected = eager.scores(params, images, images)
        torch.testing.assert_close(compiled.scores(params, images, images), expected)
