"""The card of a distilled set."""

import json

import yaml
from run_folders import digits_records, make_run

from datm.reporting import dataset_card


def card(tmp_path, records, **changes):
    run = make_run(tmp_path / f"run-{len(list(tmp_path.iterdir()))}")
    meta = json.loads((run / "distilled/distilled.json").read_text())
    return dataset_card({**meta, **changes}, records)


def test_front_matter_is_yaml_that_the_hub_knows(tmp_path):
    _, front, body = card(tmp_path, []).split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["size_categories"] == ["n<1K"]
    assert front["task_categories"] == ["image-classification"]
    assert front["license"] == "other"
    assert body.lstrip().startswith("# digits, distilled to 10 images per class")


def test_numbers_come_from_the_records(tmp_path):
    text = card(tmp_path, digits_records())
    assert "| distilled | convnet-2,width=32 | 100 | 10 | 94.3 ± 0.4 | 5 |" in text
    assert "**Not lossless here.**" in text
    assert "about 345 random real images" in text
    assert "`convnet-2,width=32`" in text
    assert "1.6 min" in text


def test_what_was_optimised_is_told(tmp_path):
    matched, judged = "by matching the training trajectories", "by the loss on real training images"

    def told(**match):
        text = card(tmp_path, [], recipe={"distill": {"match": match}}, **more)
        return matched in text, judged in text

    more = {}
    assert told() == told(data_share=0) == (True, False)
    assert told(data_share=1, data_from=0) == (False, True)
    assert told(data_share=1, data_from=50) == told(data_share=0.5) == (True, True)
    more = {"begun_with": {"iterations": 1200, "seconds": 5400.0, "recipe": {}}}
    assert told(data_share=1) == (True, True)
    assert "1,200 iterations and 1.5 h, by matching" in card(tmp_path, [], **more)


def test_every_run_that_a_set_was_made_in_is_told(tmp_path):
    first = {"iterations": 1200, "seconds": 5400.0, "recipe": {}}
    second = {"iterations": 400, "seconds": 7200.0, "recipe": {}, "begun_with": first}
    text = card(tmp_path, [], begun_with=second)
    assert text.index("400 iterations and 2.0 h") < text.index("1,200 iterations and 1.5 h")


def test_an_unevaluated_set_says_so(tmp_path):
    assert "Not evaluated yet." in card(tmp_path, [])


def test_the_example_is_python(tmp_path):
    code = card(tmp_path, []).split("```python\n")[1].split("```")[0]
    compile(code, "README.md", "exec")
    assert len([line for line in code.splitlines() if line]) <= 5


def test_any_name_of_a_class_or_a_data_set_is_shown_as_it_is(tmp_path):
    names = ["<script>", "a|b", "*c*", *"defghij"]
    text = card(tmp_path, [], classes=names, data={"name": "my: [data] #1"})
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"].startswith("my: [data] #1,")
    assert "&lt;script>, a\\|b, \\*c\\*" in text


def test_many_classes_are_not_all_listed(tmp_path):
    text = card(tmp_path, [], classes=[f"class{k}" for k in range(100)], ipc=50)
    assert "class19 and 80 more" in text
    assert "1K<n<10K" in text
