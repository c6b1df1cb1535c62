"""A report's files: what they hold, and every number recomputed from the predictions."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import softmax
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from foveal.errors import OutsideError
from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.files.run_folder import RunFolder
from foveal.reporting import report_files
from foveal.reporting.report import Report
from foveal.reporting.report_files import build_evaluation_json

PICTURES = ("learning-curves", "roc-curves", "precision-recall-curves", "reliability", "confusion-matrix")


def test_evaluation_json(full: Report, cifar: Evaluation, validation: Evaluation) -> None:
    value: dict[str, Any] = json.loads(json.dumps(build_evaluation_json(full), allow_nan=False))
    assert value["schema"] == 2
    assert value["summary"]["sentence"].startswith("Of 100 images like these, it classifies about 81")
    assert Evaluation.from_json(value["test"]) == cifar
    assert Evaluation.from_json(value["validation"]) == validation
    assert [f["sentence"] for f in value["findings"]] == [f.sentence for f in full.findings]
    assert value["history"]["best_epoch"] == 13
    assert value["history"]["records"][12]["validation_loss"] == 0.5949
    assert value["network"]["trainable"] == 960


def test_write(run_folder: RunFolder, full: Report, cifar: Evaluation) -> None:
    report = Report.from_run(
        run_folder, validation=full.validation, test=cifar, curves=full.curves, layers=full.layers
    )
    assert (report.title, report.seconds, report.stopped, report.resumed) == (
        full.title,
        1084.2,
        "early",
        False,
    )
    assert report.findings == full.findings
    path = report_files.write_report(report, run_folder)
    assert path == run_folder.report
    page = path.read_text("utf-8").replace("\u00a0", " ")
    assert format_percent(cifar.accuracy, cifar.n) in page
    expected = sorted(f"{name}.{kind}" for name in PICTURES for kind in ("png", "svg", "json"))
    assert sorted(file.name for file in run_folder.plots.iterdir()) == expected
    assert json.loads(run_folder.evaluation.read_text("utf-8"))["test"]["n"] == 10_000
    before = path.read_bytes()
    report_files.write_report(report, run_folder)
    assert path.read_bytes() == before
    # A later report without curves does not leave the old ones standing.
    report_files.write_report(replace(report, curves=()), run_folder)
    assert not list(run_folder.plots.glob("roc-curves*"))


def test_a_refusing_disk_is_one_line(run_folder: RunFolder, full: Report) -> None:
    run_folder.plots.write_text("in the way")
    with pytest.raises(OutsideError, match="plots"):
        report_files.write_report(full, run_folder)
    assert not run_folder.report.exists()


# ---- recomputed


@pytest.fixture(scope="module")
def whole(finished: Path) -> Any:
    return json.loads((finished / "evaluation.json").read_text("utf-8"))


def test_what_the_csv_file_tells(finished: Path, whole: Any) -> None:
    test = whole["test"]
    with (finished / "predictions" / "test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [each["name"] for each in test["classes"]]
    true, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
    right = sum(a == b for a, b in zip(true, predicted, strict=True))
    assert (test["n"], test["accuracy"]) == (len(rows), right / len(rows))
    assert test["accuracy_interval"] == pytest.approx(proportion_confint(right, len(rows), method="wilson"))
    assert test["confusion"] == sk.confusion_matrix(true, predicted, labels=names).tolist()
    report = sk.classification_report(true, predicted, labels=names, output_dict=True, zero_division=0)
    for average in ("macro", "weighted"):
        theirs = report[f"{average} avg"]
        for ours, their in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert test[average][ours] == pytest.approx(theirs[their])
    for scores in test["classes"]:
        theirs = report[scores["name"]]
        hits = sum(a == b == scores["name"] for a, b in zip(true, predicted, strict=True))
        assert scores["n"] == theirs["support"]
        assert scores["recall"] == pytest.approx(theirs["recall"])
        assert (scores["precision"] or 0) == pytest.approx(theirs["precision"])
        assert (scores["f1"] or 0) == pytest.approx(theirs["f1-score"])
        assert scores["recall_interval"] == pytest.approx(
            proportion_confint(hits, scores["n"], method="wilson")
        )
        named = predicted.count(scores["name"])
        if named:
            low, high = proportion_confint(hits, named, method="wilson")
            assert scores["precision_interval"] == pytest.approx((max(0, low), min(1, high)), abs=1e-12)
        errors = scores["n"] + named - 2 * hits
        low, high = np.clip(proportion_confint(hits, hits + errors, method="wilson"), 0, 1)
        assert scores["f1_interval"] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    images = whole["gallery"]["images"] if whole["gallery"] else []
    kept = {row["path"]: row for row in rows}
    for image in images:
        row = kept[image["path"]]
        assert (image["label"], image["predicted"]) == (row["label"], row["predicted"])
        assert image["probability"] == pytest.approx(float(row["confidence"]), abs=1e-6)
    assert sum(cell["n"] for cell in whole["gallery"]["cells"]) == len(rows) - right


def test_what_the_logits_tell(finished: Path, whole: Any) -> None:
    test = whole["test"]
    kept = load_file(finished / "predictions" / "test.safetensors")
    before = load_file(finished / "predictions" / "validation.safetensors")
    temperature = json.loads((finished / "model" / "config.json").read_text())["temperature"]
    y, p = kept["labels"], softmax(kept["logits"].astype(float), axis=1)
    assert test["loss"] == pytest.approx(sk.log_loss(y, p, labels=range(p.shape[1])))
    for k, scores in enumerate(test["classes"]):
        assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(y == k, p[:, k]))
        assert scores["average_precision"] == pytest.approx(sk.average_precision_score(y == k, p[:, k]))
    found = test["confidence"]
    assert found["temperature"] == temperature
    calibrated = softmax(kept["logits"].astype(float) / temperature, axis=1)
    assert found["calibrated"]["loss"] == pytest.approx(sk.log_loss(y, calibrated, labels=range(p.shape[1])))
    for name, chances in (("as_trained", p), ("calibrated", calibrated)):
        sure, right = chances.max(axis=1), chances.argmax(axis=1) == y
        assert found[name]["confidence"] == pytest.approx(sure.mean())
        order = np.argsort(-sure, kind="stable")
        groups = np.array_split(order, len(found[name]["bins"]))
        error = sum(len(some) * abs(right[some].mean() - sure[some].mean()) for some in groups) / len(y)
        assert found[name]["error"] == pytest.approx(error)
    sure, right = calibrated.max(axis=1), calibrated.argmax(axis=1) == y
    earlier = softmax(before["logits"].astype(float) / temperature, axis=1)
    earlier_true = np.sort(earlier[np.arange(len(earlier)), before["labels"]])
    for sets in found["sets"]:
        n = len(earlier)
        rank = int(np.ceil((n + 1) * sets["level"]))
        least = earlier_true[n - rank] if rank <= n else 0.0
        assert sets["least"] == pytest.approx(least)
        named = (calibrated >= least) | (calibrated == sure[:, None])
        assert sets["coverage"] == pytest.approx(named[np.arange(len(y)), y].mean())
        assert sets["size"] == pytest.approx(named.sum(axis=1).mean())
    for each in found["answering"]:
        answered = sure >= each["least"]
        assert each["coverage"] == pytest.approx(answered.mean())
        assert each["accuracy"] == pytest.approx(right[answered].mean())
    assert found["risk"][-1] == pytest.approx(1 - test["accuracy"])


def test_the_file_is_what_the_report_is_made_of(finished: Path, whole: Any) -> None:
    assert Evaluation.from_json(whole["test"]).to_json() == whole["test"]
    page = (finished / "report.html").read_text("utf-8").replace("\u00a0%", " %")
    for finding in (whole["summary"], *whole["findings"]):
        assert finding["sentence"].split(".")[0].replace("'", "&#39;") in page
