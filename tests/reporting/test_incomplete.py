"""Reports of incomplete and of broken runs: what is missing is said, what is broken refused."""

import json
import re
import shutil

import pytest
from report_page import read
from run_folders import digits_records, make_run, put

from datm.errors import InputError
from datm.reporting import report
from datm.reporting.run_folder import read_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", transform="none")


def test_a_run_without_evaluation_says_so(run):
    (run / "evaluation.json").unlink()
    meta = json.loads((run / "distilled/distilled.json").read_text())
    put(run / "distilled/distilled.json", {**meta, "records": []})
    page, html = read(run)
    assert 'class="verdict open"' in html
    assert "not known yet" in page.text["verdict"]
    assert "Nothing was evaluated yet" in page.text["accuracy"]
    assert "Soft labels" in page.text["images"]


def test_the_distilled_set_s_own_records_stand_in_for_evaluation_json(run):
    (run / "evaluation.json").unlink()
    page, _ = read(run)
    assert "94.3 ± 0.4" in page.text["accuracy"]


def test_a_smoke_run_is_called_that(run):
    put(run / "environment.json", {"smoke": True})
    assert "the accuracies mean nothing" in read(run)[0].text["verdict"]
    put(run / "environment.json", {"smoke": False})
    assert "mean nothing" not in read(run)[0].text["verdict"]


def test_a_missing_baseline_is_named(run):
    put(run / "evaluation.json", [r for r in digits_records() if r["what"] != "full"])
    page, _ = read(run)
    assert "Nothing was measured on all the real data yet" in page.text["verdict"]
    assert "Not measured yet: all real data." in page.text["accuracy"]


def test_a_distilled_set_made_elsewhere(run):
    shutil.rmtree(run / "trajectories")
    for name in ("metrics.jsonl", "config.yaml", "environment.json"):
        (run / name).unlink()
    (run / "distilled/initial.safetensors").unlink()
    page, html = read(run)
    assert "before distillation are not in this folder" in page.text["images"]
    assert 'class="tile before"' not in html
    assert 'class="tile after"' in html
    assert "nothing was distilled in this folder" in page.text["matching"]
    assert "trained elsewhere" in page.text["teachers"]
    assert "where this ran is not known" in page.text["environment"]
    assert "distill.match.t_max12" in page.text["settings"]


def test_a_run_that_only_began_to_teach(run):
    shutil.rmtree(run / "distilled")
    for name in ("metrics.jsonl", "evaluation.json"):
        (run / name).unlink()
    manifest = json.loads((run / "trajectories/manifest.json").read_text())
    manifest["teachers"] = manifest["teachers"][:2]
    manifest["teachers"][1].update(complete=False, epochs=manifest["teachers"][1]["epochs"][:1])
    put(run / "trajectories/manifest.json", manifest)
    page, _ = read(run)
    assert "No distilled set yet" in page.text["images"]
    assert "only 1 of them complete" in page.text["teachers"]
    assert page.text[None].strip().startswith("digits-ipc10:")  # config.yaml's name then
    manifest["teachers"] = []
    put(run / "trajectories/manifest.json", manifest)
    assert "No teacher has begun yet" in read(run)[0].text["teachers"]


def test_without_validation_images_the_last_iterate_is_the_result(run):
    (run / "metrics.jsonl").write_text('{"iteration": 1, "loss": 0.5, "step_size": 0.01}\n')
    meta = json.loads((run / "distilled/distilled.json").read_text())
    meta["data"]["validation"] = 0
    put(run / "distilled/distilled.json", meta)
    assert "the last iterate is the result" in read(run)[0].text["matching"]


def test_skipped_iterations_and_values_that_are_not_finite(run):
    # JSON has no NaN: a loss that was not finite is null
    lines = [
        {"iteration": i, "loss": None if i == 3 else 0.5, "step_size": 0.01, "skipped": i == 3,
         "segments": [[0, 1, None if i == 3 else 0.5]]}
        for i in range(1, 6)
    ]  # fmt: skip
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"iteration": 6, "lo'
    (run / "metrics.jsonl").write_text(text)
    page, _ = read(run)
    assert "5 iterations. 1 of 5 logged ones changed nothing" in page.text["matching"]
    assert "No iterate was validated yet." in page.text["matching"]
    drawn = [value for tag, name, value in page.attributes if name in ("d", "cx", "cy", "points")]
    assert any(value.startswith("M") for value in drawn)
    assert not [value for value in drawn if "n" in value.lower()]


def test_students_on_real_images_have_a_chart_of_their_own(run):
    lines = [
        {"iteration": i, "step_size": 0.01, "segments": [[0, 1, 0.5]], "loss": 0.5}
        if i % 2
        else {"iteration": i, "step_size": 0.01, "segments": [], "data_loss": 0.8}
        for i in range(1, 9)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = read(run)[0].text["matching"]
    assert "8 iterations. " in text
    assert "matching loss (log scale)" in text
    assert "loss on real images (log scale)" in text
    data_only = [{**line, "segments": []} for line in lines if "data_loss" in line]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in data_only))
    text = read(run)[0].text["matching"]
    assert "matching loss (log scale)" not in text
    assert "start epoch of the segment" not in text
    assert "loss on real images (log scale)" in text


def test_of_lines_logged_twice_the_later_counts(run):
    lines = [{"iteration": i, "loss": loss, "segments": []} for i, loss in ((1, 9), (2, 8), (1, 7))]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [line["loss"] for line in read_run(run).iterations] == [7, 8]


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        report(tmp_path / "nowhere")
    (tmp_path / "config.yaml").write_text("name: x\n")
    with pytest.raises(InputError, match="has nothing to report"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("evaluation.json", "{", "evaluation.json"),
        ("evaluation.json", "{}", "no list of records"),
        ("evaluation.json", '[{"what": "full"}]', "record 0 has no 'accuracies'"),
        ("distilled/distilled.safetensors", "rubbish", "distilled.safetensors"),
        ("metrics.jsonl", "rubbish\n{}\n", "metrics.jsonl"),
    ],
)
def test_a_broken_file_is_named_and_the_old_report_stays(run, name, content, says):
    old = report(run).read_text(encoding="utf-8")
    (run / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(says)):
        report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == old


def test_images_that_do_not_fit_their_description_are_refused(run):
    meta = json.loads((run / "distilled/distilled.json").read_text())
    put(run / "distilled/distilled.json", {**meta, "ipc": 9})
    with pytest.raises(InputError, match=r"holds 100 images .* says 10 classes of 9"):
        report(run)
