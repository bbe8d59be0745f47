"""What networks are trained on and judged by, and what the records say of it."""

import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from evaluations import CONFIG, MARKS, made_up_set, marked, names, spied

from datm.data import DataSet, Split, load_data
from datm.evaluation import evaluate
from datm.evaluation.train import train_networks
from datm.networks import ConvNet
from small_jobs import AUGMENTATION, NETWORK, reference_module

SPEC = "convnet-1,width=4,norm=instance,pooling=average"


@pytest.fixture(scope="module")
def records(digits: DataSet) -> list[dict[str, Any]]:
    """An evaluation with every kind of row."""
    distilled = made_up_set(digits)
    made = evaluate(distilled, digits, config=CONFIG, initial=made_up_set(digits, seed=5))
    assert distilled.records == made
    return made


def test_a_record_says_what_was_done(records: list[dict[str, Any]]) -> None:
    said = [(r["what"], r["model"], r["ipc"], r["images"], len(r["accuracies"])) for r in records]
    assert said == [
        ("distilled", SPEC, 2, 20, 3),
        ("initial", SPEC, 2, 20, 3),
        ("random", SPEC, 2, 20, 3),
        ("random", SPEC, 4, 40, 2),
        ("full", SPEC, None, 130, 3),
    ]
    for record in records:
        hits = [accuracy * 30 for accuracy in record["accuracies"]]
        assert hits == pytest.approx([round(hit) for hit in hits], abs=1e-9)
        assert all(0 <= accuracy <= 1 for accuracy in record["accuracies"])
        assert record["mean"] == pytest.approx(statistics.mean(record["accuracies"]))
        assert record["std"] == pytest.approx(statistics.stdev(record["accuracies"]))
        assert record["seconds"] > 0
        protocol = record["protocol"]
        assert protocol["momentum"] == 0.9
        assert protocol["weight_decay"] == 5e-4
        assert protocol["augmentation"] == AUGMENTATION
        assert protocol["batch"] == 8
        own = record["what"] in ("distilled", "initial")
        assert protocol["epochs"] == {None: 2, 2: 6, 4: 3}[record["ipc"]]
        assert protocol["labels"] == ("soft" if own else "hard")
        # 130 / 8 is 16.25 batches, 20 / 8 is 2.5 and 40 / 8 is 5
        assert protocol["steps"] == {130: 32, 40: 15, 20: 12}[record["images"]]
        if own:
            assert protocol["learning_rate"] == 0.05
            assert "learning_rates_on_validation" not in protocol
        else:
            tried = protocol["learning_rates_on_validation"]
            assert set(tried) == {"0.01", "0.1"}
            assert tried[str(protocol["learning_rate"])] == max(tried.values())


def test_one_network_has_no_deviation(digits: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    spied(monkeypatch)
    [record] = evaluate(made_up_set(digits), digits, seeds=1, config=replace(CONFIG, baselines=()))
    assert (record["mean"], record["std"]) == (record["accuracies"][0], 0.0)


def test_accuracies_are_those_of_the_networks_on_the_test_split(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datm.evaluation import trainer

    trained = []

    def spying(network: ConvNet, *arguments: Any) -> torch.Tensor:
        found = train_networks(network, *arguments)
        trained.extend(reference_module(network, params) for params in found)
        return found

    monkeypatch.setattr(trainer, "train_networks", spying)
    found = evaluate(
        made_up_set(digits), digits, config=replace(CONFIG, learning_rates=(0.1,), full_epochs=6)
    )
    modules = iter(trained)
    for record in found:
        for accuracy in record["accuracies"]:
            scores = next(modules)(digits.transform(digits.test.images))
            assert accuracy == pytest.approx(
                float((scores.argmax(1) == digits.test.labels).double().mean())
            )
    assert next(modules, None) is None
    assert found[-1]["mean"] > 0.3  # they did learn


def test_distilled_images_are_trained_on_as_they_are(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = spied(monkeypatch)
    distilled, before = made_up_set(digits), made_up_set(digits, seed=5)
    before.step_size = 0.02
    config = replace(CONFIG, baselines=("initial",), augmentation="flip", momentum=0.8)
    evaluate(distilled, digits, config=config, initial=before, seed=3)
    assert len(spy.trainings) == 6
    assert len({training["seed"] for training in spy.trainings}) == 6
    for number, training in enumerate(spy.trainings):
        expected = distilled if number < 3 else before
        assert torch.equal(training["images"], expected.images)
        assert torch.equal(training["logits"], expected.logits)
        assert training["protocol"].learning_rate == expected.step_size
        assert training["protocol"].augmentation == "flip"
        assert training["protocol"].momentum == 0.8


def test_real_images_are_of_the_right_splits(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = marked(digits)
    spy = spied(monkeypatch)
    evaluate(made_up_set(data), data, config=replace(CONFIG, baselines=("random", "full")))
    distilled, trainings = spy.trainings[:3], spy.trainings[3:]
    assert len(distilled) == 3
    labels = {
        (MARKS[name], number): int(label)
        for name in MARKS
        for number, label in enumerate(getattr(data, name).labels)
    }
    sets = []
    for training in trainings:
        found = names(training["images"])
        assert len(set(found)) == len(found)
        assert training["logits"].argmax(1).tolist() == [labels[name] for name in found]
        assert (training["logits"].softmax(1).max(1).values == 1).all()
        sets.append(frozenset(found))
    train = {(MARKS["train"], number) for number in range(100)}
    validation = {(MARKS["validation"], number) for number in range(30)}
    # random: two learning rates tried, three networks; twice as many: two and two
    for first, count, of in ((0, 5, 2), (5, 4, 4)):
        for chosen in sets[first : first + count]:
            assert chosen < train
            assert [sum(labels[n] == k for n in chosen) for k in range(10)] == [of] * 10
        assert sets[first] == sets[first + 1]  # rates are compared on the same images,
        drawn = sets[first + 1 : first + count]  # which no evaluated network sees again
        assert len(set(drawn)) == count - 1
    # full: rates are tried without the images that they are judged by
    assert sets[9:11] == [train, train]
    assert sets[11:] == [train | validation] * 3


def test_other_seeds_draw_other_real_images(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = marked(digits)
    config = replace(CONFIG, baselines=("random",), random_multiples=(), learning_rates=(0.1,))
    drawn = []
    for seed in (0, 1):
        spy = spied(monkeypatch)
        evaluate(made_up_set(data), data, config=config, seed=seed)
        drawn += [tuple(names(training["images"])) for training in spy.trainings[3:]]
    assert len(set(drawn)) == 6


def garbage(split: Split) -> Split:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, split.images.shape, generator=draw, dtype=torch.uint8)
    return Split(images, torch.randint(10, split.labels.shape, generator=draw))


RATES = (0.0001, 0.05, 0.1)


def chosen(data: DataSet) -> list[tuple[float, dict[str, float]]]:
    config = replace(
        CONFIG, baselines=("random", "full"), learning_rates=RATES, full_epochs=8, seeds=1
    )
    found = evaluate(made_up_set(data), data, config=replace(config, random_multiples=()))
    protocols = [record["protocol"] for record in found[1:]]
    return [(p["learning_rate"], p["learning_rates_on_validation"]) for p in protocols]


def test_learning_rates_are_chosen_on_validation_alone(digits: DataSet) -> None:
    found = chosen(digits)
    for rate, tried in found:
        assert tried[str(rate)] == max(tried.values())
        assert tried[str(RATES[0])] < max(tried.values())  # there is something to choose
    assert chosen(replace(digits, test=garbage(digits.test))) == found
    assert chosen(replace(digits, validation=garbage(digits.validation))) != found


def test_without_validation_images_the_first_learning_rate_is_taken(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch)
    data = replace(digits, validation=digits.validation.select(torch.arange(0)))
    found = evaluate(made_up_set(data), data, config=CONFIG)
    assert [record["protocol"]["learning_rate"] for record in found[1:]] == [0.01] * 3
    assert found[-1]["images"] == 100


def test_batch_normalisation_uses_statistics_of_the_training_images(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = spied(monkeypatch)
    found = evaluate(
        made_up_set(digits),
        digits,
        models=["convnet-1,width=4,norm=batch"],
        config=replace(CONFIG, learning_rates=(0.1,), seeds=8, augmentation="none"),
    )
    accuracies = [accuracy for record in found for accuracy in record["accuracies"]]
    test = digits.transform(digits.test.images)
    by_own = []
    for training, accuracy in zip(spy.trainings, accuracies, strict=True):
        module = reference_module(training["network"], training["params"]).requires_grad_(False)
        convolution, norm, relu, pool, flatten, linear = module
        before = convolution(training["images"])
        mean, variance = before.mean((0, 2, 3)), before.var((0, 2, 3), correction=0)
        normal = F.batch_norm(convolution(test), mean, variance, norm.weight, norm.bias)
        scores = linear(flatten(pool(relu(normal))))
        hits = (scores.argmax(1) == digits.test.labels).double().mean()
        assert accuracy == pytest.approx(float(hits))
        own = (module(test).argmax(1) == digits.test.labels).double().mean()
        by_own.append(float(own))  # in training mode: the test images' own statistics
    assert by_own != pytest.approx(accuracies)


def test_models_and_seeds_of_the_call_come_before_the_settings(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch)
    distilled = made_up_set(digits)
    config = replace(CONFIG, baselines=("random",), models=("convnet-2,width=4",))
    found = evaluate(distilled, digits, config=config)
    assert [r["model"].split(",")[0] for r in found] == ["convnet-2"] * 3
    given = ["convnet-1,width=4", "convnet-1,width=5"]
    found = evaluate(distilled, digits, given, 4, config=replace(config, random_multiples=()))
    widths = [(r["model"].split(",")[1], r["what"], len(r["accuracies"])) for r in found]
    assert widths == [
        ("width=4", "distilled", 4),
        ("width=4", "random", 4),
        ("width=5", "distilled", 4),
        ("width=5", "random", 4),
    ]
    # a network that is named twice, in whatever words, is trained once
    twice = evaluate(distilled, digits, [NETWORK, SPEC], 1, config=replace(config, baselines=()))
    assert [record["model"] for record in twice] == [SPEC]


def test_multiples_beyond_the_training_split_are_left_out(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch)
    config = replace(CONFIG, baselines=("random",), random_multiples=(2, 5, 6))
    found = evaluate(made_up_set(digits), digits, config=config)
    assert [record["ipc"] for record in found] == [2, 2, 4, 10]


def test_the_set_is_judged_in_its_own_training_space(
    digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever transform the data came with: the images were made for one of them."""
    spied(monkeypatch)
    whitened = replace(digits, transform=load_data("digits", transform="zca").transform)
    config = replace(CONFIG, learning_rates=(0.1,), seeds=8)
    expected = evaluate(made_up_set(whitened), whitened, config=config)
    found = evaluate(made_up_set(whitened), digits, config=config)
    assert [r["accuracies"] for r in found] == [r["accuracies"] for r in expected]
    others = evaluate(made_up_set(digits), digits, config=config)
    assert [r["accuracies"] for r in others] != [r["accuracies"] for r in expected]
