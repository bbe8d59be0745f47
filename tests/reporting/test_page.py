"""report.html: well-formed, self-contained, true to the files."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from report_page import read
from run_folders import DIGITS, MODEL, digits_images, digits_records, make_run, put, record

from datm.reporting.run_folder import PIXELS, how_many

SECTIONS = ["verdict", "images", "accuracy", "matching", "teachers", "settings", "environment"]


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("complete") / "run")
    return read(run)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", transform="none")


def test_every_section_is_there_once_in_order(complete):
    page, _ = complete
    ids = [value for tag, name, value in page.attributes if tag == "section" and name == "id"]
    assert ids == SECTIONS
    targets = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert targets == [f"#{name}" for name in SECTIONS]
    assert not any("missing" in str(value) for _, name, value in page.attributes if name == "class")


def test_nothing_is_loaded_from_elsewhere(complete):
    page, html = complete
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    loading = [
        value
        for tag, name, value in page.attributes
        if name in ("src", "href", "srcset", "poster", "data") and tag != "a"
    ]
    assert loading == []
    assert set(re.findall(r"url\(\W*(\w+:[^;]*);", html)) == {"data:image/png"}
    assert "@import" not in html
    assert re.search(r"https?://", html) is None


def test_the_file_is_small(complete):
    assert len(complete[1]) < 400_000


def test_figures_are_those_of_the_records(complete):
    page, _ = complete
    verdict, accuracy = page.text["verdict"], page.text["accuracy"]
    assert "Not lossless here" in verdict
    assert "94.3 ± 0.4 % (5 networks)" in verdict
    assert "4.1 points below" in verdict
    assert "about 345 random real images" in verdict
    for one in digits_records():
        assert f"{100 * one['mean']:.1f} ± {100 * one['std']:.1f}" in accuracy
        assert ", ".join(f"{100 * a:.2f}" for a in one["accuracies"]) in accuracy
        assert f"{one['images']:,}" in accuracy
    assert "learning_rate0.0123" in accuracy
    # differences to random images, to the start, to all real data
    assert all(gain in accuracy for gain in ("+6.1", "+4.7", "−4.1"))


def test_images_and_labels_are_shown_before_and_after(complete):
    page, _ = complete
    kinds = [value for tag, name, value in page.attributes if tag == "i" and name == "class"]
    # at a glance and on the card of each
    assert kinds.count("tile before") == kinds.count("tile after") == 200
    assert all(name in page.text["images"] for name in DIGITS)
    assert "before and" in page.text["images"]


@pytest.mark.parametrize("transform", ["none", "normalise", "zca"])
def test_images_look_as_they_did_before_the_transform(tmp_path, transform):
    _, html = read(make_run(tmp_path / "run", transform=transform))
    png = re.search(r"\.before\{background-image:url\(data:image/png;base64,([^)]*)\)", html)[1]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))).astype(int)
    tiles = sheet.reshape(10, 10, 10, 10).swapaxes(1, 2)[..., 1:-1, 1:-1]  # without the rims
    real = digits_images(10)[0].numpy().reshape(10, 10, 8, 8).astype(int)
    assert abs(tiles - real).max() <= 1


def test_training_is_charted(complete):
    page, html = complete
    assert html.count('<svg class="chart"') == 1 + 4 + 2
    matching = page.text["matching"]
    for words in ("matching loss (log scale)", "step size (log scale)", "validation accuracy"):
        assert words in matching
    assert "start epoch of the segment" in matching
    assert re.search(r"best: \d\d\.\d % at \d+", matching)
    assert "best iterate: " in matching
    assert f"5 teachers of {MODEL}, 12,906 parameters." in page.text["teachers"]
    assert "segments start here: 0 to 11" in page.text["teachers"]


def test_settings_and_environment_are_told(complete):
    page, _ = complete
    assert "source: digits" in page.text["settings"]  # config.yaml itself
    assert "distill.match.t_max12" in page.text["settings"]
    assert "cpu.namea CPU" in page.text["environment"]
    assert "teachers 41 s, distillation 1.6 min, evaluation 1.8 min" in page.text["environment"]


def test_text_from_files_cannot_become_markup(tmp_path):
    evil = "<script>alert('x')</script>\"&"
    records = [{**r, "model": evil} for r in digits_records()]
    records[0]["protocol"] = {evil: evil}
    run = make_run(
        tmp_path / "run",
        classes=[evil, *DIGITS[1:]],
        records=records,
        name=evil,
        transform="none",
    )
    put(run / "environment.json", {evil: evil})
    page, _ = read(run)
    assert "script" not in page.tags
    for section in ("images", "accuracy", "settings", "environment"):
        assert evil in page.text[section]


def test_lossless_is_said_where_it_is(run):
    put(
        run / "evaluation.json",
        [
            record("distilled", 100, [0.985, 0.987], 10),
            record("full", 1257, [0.984, 0.986]),
            record("random", 100, [0.90, 0.91], 10),
        ],
    )
    page, html = read(run)
    assert 'class="verdict yes"' in html
    assert "Lossless here" in page.text["verdict"]
    assert "0.1 points above (95 % interval −0.5 to +0.7: within the noise" in page.text["verdict"]
    assert "No measured number of real images" in page.text["verdict"]


def test_a_second_network_is_listed_but_does_not_decide(run):
    others = [
        record("distilled", 100, [0.99, 0.99], 10, "mlp"),
        record("full", 1257, [0.5, 0.6], None, "mlp"),
    ]
    put(run / "evaluation.json", [*others, *digits_records()])
    page, html = read(run)
    assert "Not lossless here" in page.text["verdict"]
    assert "mlp" in page.text["accuracy"]
    assert html.count("Accuracy of mlp against") == 0  # no curve of real images, no chart


def test_one_image_per_class(tmp_path):
    page, html = read(make_run(tmp_path / "run", ipc=1, transform="normalise"))
    assert html.count('class="card"') == 10
    assert "<details open" not in html
    assert "1 per class, 10 images in place of 1,257 (0.8 %)" in page.text[None]


def test_many_images_per_class_are_cut_to_ten_and_that_is_said(tmp_path):
    page, html = read(make_run(tmp_path / "run", ipc=50, transform="none"))
    assert "Shown: the first 10 of 50 images of each class." in page.text["images"]
    assert html.count('class="tile after"') == 200


@pytest.mark.parametrize("classes", [1, 2, 10, 100, 200, 1000])
@pytest.mark.parametrize("ipc", [1, 10, 1000])
@pytest.mark.parametrize("numbers", [64, 3072, 12_288, 150_528])
def test_what_is_shown_stays_within_bounds(classes, ipc, numbers):
    k, shown = how_many(classes, ipc, numbers)
    assert 1 <= k <= classes
    assert 1 <= shown <= min(ipc, 10)
    assert k * shown * numbers <= max(PIXELS, numbers)
