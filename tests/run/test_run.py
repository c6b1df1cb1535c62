"""A run as its user sees it: what judging with views puts beside the evaluation, and what it leaves alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import foveal
from foveal.errors import RunError
from foveal.evaluation import metrics
from foveal.evaluation.predict import average_logits, compute_logits, make_tta_views
from foveal.files.atomic import write_json_with_digest


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> foveal.Run:
    """A copy of the finished run that a test may write to. Its recipe does not mirror."""
    return foveal.Run(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def mirroring(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose recipe mirrors."""
    out = tmp_path_factory.mktemp("mirroring") / "run"
    settings = [*small, "augmentation.flip=true"]
    return foveal.train(
        foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=settings, out=out
    ).path


def opened(run: foveal.Run) -> int:
    return sum(event.event == "test split opened" for event in run.folder.events())


def test_views_stand_beside_the_evaluation(run: foveal.Run) -> None:
    before, validation = run.evaluation("test"), run.evaluation("validation")
    assert before is not None
    assert before.views is None
    predictions = (run.path / "predictions" / "test.csv").read_bytes()
    times = opened(run)
    found = run.evaluate("test", views=True)
    assert opened(run) == times + 1
    assert found.views is not None
    assert replace(found, views=None) == before
    assert found.views.loss != found.loss
    assert run.evaluation("test") == found
    assert run.evaluation("validation") == validation
    assert (run.path / "predictions" / "test.csv").read_bytes() == predictions
    assert run.summary()["test"] == {"n": found.n, "loss": found.loss, "accuracy": found.accuracy}
    assert "3 views of each image" in run.report().read_text("utf-8")
    assert run.evaluation("test") == found  # the report keeps it
    run.evaluate("validation")
    assert run.evaluation("test") == found  # so does judging the other split
    assert run.evaluate("test").views is None  # not asked
    assert "views of each image" not in run.report().read_text("utf-8")


@pytest.mark.parametrize(("mirrors", "n"), [(True, 6), (False, 3)])
def test_mirror_images_are_views_where_training_mirrored(
    run: foveal.Run, mirroring: Path, n: int, *, mirrors: bool
) -> None:
    judged = foveal.Run(mirroring) if mirrors else run
    found = foveal.evaluate(judged.path, "validation", views=True).views
    assert found is not None
    network, dataset = judged.model, judged.dataset
    pixels, rows = dataset.pack.pixels, dataset.get_indices("validation")
    averaged = average_logits(
        network,
        pixels,
        rows,
        views=make_tta_views(flip=mirrors),
        first_logits=compute_logits(network, pixels, rows),
    )
    expected = metrics.evaluate(averaged, dataset.labels[rows], dataset.classes, split="validation")
    assert found.n == n
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert found.accuracy == expected.accuracy
    assert found.accuracy_interval == expected.accuracy_interval


def test_an_evaluation_from_before_there_were_views_is_read(run: foveal.Run) -> None:
    before = run.evaluation("test")
    stored = json.loads(run.folder.evaluation.read_text())
    for split in ("validation", "test"):
        assert stored[split].pop("views") is None
    write_json_with_digest(run.folder.evaluation, stored)
    assert before is not None
    assert run.evaluation("test") == before
    assert "views of each image" not in run.report().read_text("utf-8")
    assert run.evaluate("test", views=True).views is not None
    stored["test"]["views"] = {"n": 6}
    write_json_with_digest(run.folder.evaluation, stored)
    with pytest.raises(RunError, match="evaluate the run again"):
        run.evaluation("test")
