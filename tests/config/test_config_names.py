"""Names, types in words, precedence and refusals of configuration, on a small recipe of its own."""

from typing import Any, Literal

import pytest
from pydantic import Field, PositiveInt, field_validator

from datm.config.fields import fields_of
from datm.config.load import flatten, resolve, unknown_name
from datm.config.validate import Given, build, nested, nested_defaults, split_list
from datm.errors import InputError
from datm.runtime.settings import settings


@settings
class Machine:
    device: str = Field("auto", description="where")


@settings
class Source:
    source: str = Field("digits", description="what")
    validation: float = Field(0.1, ge=0, lt=1, description="share held out")
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(None, description="pixels")


@settings
class Teachers:
    network: str = Field("convnet-2", description="architecture")
    epochs: int = Field(50, gt=0, description="epochs")


@settings
class Matching:
    method: Literal["exact", "tesla"] = Field("exact", description="gradient")
    first: int = Field(0, ge=0, description="T-")
    last: int = Field(20, ge=0, description="T+")
    middle: int | None = Field(None, ge=0, description="T")

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise InputError(f"match: first {self.first} lies after last {self.last}; lower it.")


@settings
class Distilling:
    ipc: int = Field(gt=0, description="images per class")
    iterations: int = Field(10000, gt=0, description="updates")
    match: Matching = Matching()
    zca: bool = Field(False, description="whiten")


@settings
class Evaluating:
    models: tuple[str, ...] = Field((), description="networks")
    rates: tuple[float, ...] | None = Field(None, min_length=1, description="learning rates")
    augmentation: str = Field("none", description="operations")

    def __post_init__(self) -> None:
        if self.augmentation == "blur":
            raise InputError("augmentation: 'blur' is not known; give flip.")

    @field_validator("models")
    @classmethod
    def known(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if "mystery" in models:
            raise InputError("evaluate.models: 'mystery' is not known; name another.")
        return models


@settings
class Sample:
    name: str
    seed: int = 0
    runtime: Machine = Machine()
    data: Source = Source()
    teach: Teachers = Teachers(epochs=7)
    distill: Distilling
    evaluate: Evaluating = Evaluating()


BASE = nested(Sample(name="base", distill=Distilling(ipc=3)))
KNOWN = {field.name: field for field in fields_of(Sample)}


def made(given: dict[Any, Any] | None = None, **overrides: str) -> Sample:
    """The sample with a file's `given` and command-line texts; __ stands for a dot."""
    texts = {name.replace("__", "."): text for name, text in overrides.items()}
    sample = resolve(Sample, BASE, given or {}, texts, "my.yaml: ")
    assert isinstance(sample, Sample)
    return sample


def refused(given: dict[Any, Any] | None = None, **overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        made(given, **overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_hoisted_names_are_the_only_names() -> None:
    assert list(KNOWN) == [
        "name", "seed", "device", "network", "ipc",
        "data.source", "data.validation", "data.size", "teach.epochs", "distill.iterations",
        "match.method", "match.first", "match.last", "match.middle", "distill.zca",
        "evaluate.models", "evaluate.rates", "evaluate.augmentation",
    ]  # fmt: skip
    sample = made({"ipc": 4, "match": {"method": "tesla"}, "network": "convnet-1"}, device="cpu")
    assert (sample.distill.ipc, sample.distill.match.method) == (4, "tesla")
    assert (sample.teach.network, sample.runtime.device) == ("convnet-1", "cpu")
    for path, name in [("distill.ipc", "ipc"), ("runtime.device", "device")]:
        assert refused(**{path.replace(".", "__"): "1"}).endswith(f"did you mean {name}?")
    assert "did you mean match.method or match.first or match.last?" in refused(
        {"distill": {"match": {"last": 3}}}
    )


def test_fields_say_type_default_and_description() -> None:
    assert KNOWN["ipc"].type == "an integer greater than 0"
    assert KNOWN["ipc"].required
    assert KNOWN["data.validation"].type == "a number of at least 0 and less than 1"
    assert KNOWN["match.method"].type == "'exact' or 'tesla'"
    assert KNOWN["match.middle"].type == "an integer of at least 0 or none"
    assert KNOWN["evaluate.models"].type == "a list, each text"
    assert KNOWN["evaluate.rates"].type == "a list of at least 1, each a number or none"
    assert KNOWN["teach.epochs"].default == 7  # the group's own default, not the class's
    assert KNOWN["distill.iterations"].description == "updates"


def test_later_wins_and_untouched_values_stay() -> None:
    sample = made({"distill": {"iterations": 5}, "teach.epochs": 9}, distill__iterations="6")
    assert (sample.distill.iterations, sample.teach.epochs, sample.distill.ipc) == (6, 9, 3)
    assert made().teach.epochs == 7
    assert BASE["distill"]["iterations"] == 10000  # resolving changed nothing it was given


def test_data_as_a_string_is_its_source() -> None:
    assert made({"data": "folder"}).data.source == "folder"
    assert made(data="hub:a/b", data__validation="0.2").data == Source(
        source="hub:a/b", validation=0.2
    )


def test_texts_become_values() -> None:
    sample = made(
        distill__zca="true",
        match__middle="none",
        evaluate__models="convnet-3,width=64,norm=batch,resnet18",
        evaluate__rates="[0.1, 1e-2]",
    )
    assert sample.distill.zca is True
    assert sample.distill.match.middle is None
    assert sample.evaluate.models == ("convnet-3,width=64,norm=batch", "resnet18")
    assert sample.evaluate.rates == (0.1, 0.01)
    assert made(data__size="8").data.size == 8
    assert made(data__size="8,9").data.size == made(data__size="[8, 9]").data.size == (8, 9)
    assert made({"data": {"validation": "1e-1"}}).data.validation == 0.1  # YAML reads it as text


def test_split_list_keeps_a_networks_options_together() -> None:
    assert split_list("a, b,x=1 ,c") == ["a", "b,x=1", "c"]
    assert split_list("") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "'abc' is not a whole number; give an integer greater than 0."),
        ("1.5", "'1.5' is not a whole number; give an integer greater than 0."),
        ("0", "'0' is not allowed; give an integer greater than 0."),
    ],
)
def test_wrong_values_name_field_value_and_remedy(text: str, message: str) -> None:
    assert refused(distill__iterations=text) == f"distill.iterations: {message}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ipc": True}, "my.yaml: ipc: true is not a whole number; give"),
        ({"ipc": None}, "my.yaml: ipc: none is not a whole number; give"),
        ({"ipc": [1]}, "my.yaml: ipc: [1] is not a whole number; give"),
        ({"name": 5}, "my.yaml: name: 5 is not text; give text."),
        ({"match": {"method": "tessla"}}, "give 'exact' or 'tesla' (did you mean 'tesla'?)."),
        ({"evaluate": {"rates": "a"}}, "my.yaml: evaluate.rates: 'a' is not"),
        ({"teach": 5}, "my.yaml: teach: 5 is no group of settings; give fields of it, such as"),
        ({"teach": {"epchs": 5}}, "my.yaml: teach.epchs: there is no such setting; did you mean "),
        ({"iterations": 5}, "did you mean distill.iterations?"),
        ({"zzzzzz": 5}, "`datm run --help` lists all."),
        ({True: 5}, "my.yaml: true: there is no such setting;"),
        (
            {"data": {"size": 0}},
            "an integer greater than 0, a list of 2, each an integer greater than 0",
        ),
        ({"data": {"size": [8]}}, "my.yaml: data.size: [8] is not"),
        ({"match": {"first": 30}}, "match: first 30 lies after last 20; lower it."),
        ({"evaluate": {"augmentation": "blur"}}, "evaluate.augmentation: 'blur' is not known;"),
        ({"evaluate": {"models": ["mystery"]}}, "evaluate.models: 'mystery' is not known;"),
        ({"data": "x", "data.source": "y"}, "data.source: is given twice, as data and as"),
        ({"data": {"source": "x"}, "data.source": "y"}, "data.source: is given twice, as data: s"),
    ],
)
def test_files_are_refused_with_a_reason(given: dict[Any, Any], message: str) -> None:
    assert message in refused(given)


def test_a_name_given_twice_on_the_command_line_is_refused() -> None:
    with pytest.raises(InputError, match="is given twice, as data and as data"):
        flatten({"data": "x", "data.source": "y"}, KNOWN)


def test_missing_fields_are_named() -> None:
    with pytest.raises(InputError, match=r"^ipc: is missing; give an integer greater than 0\.$"):
        build(Sample, nested_defaults(Sample), {"name": Given("x")})


def test_an_empty_group_is_no_error() -> None:
    assert made({"teach": None}) == made()


def test_suggestions_prefer_the_nearest_name() -> None:
    assert "did you mean teach.epochs?" in unknown_name("teech.epochs", list(KNOWN.values()))
    assert "did you mean seed?" in unknown_name("sead", list(KNOWN.values()))
