"""One recipe with several seeds."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import foveal
from foveal.cli.main import main
from foveal.data.options import DataOptions
from foveal.errors import DataError, Interrupted, RecipeError, RunError
from foveal.experiments import repeat as repeating
from foveal.experiments.repeat import load_group
from foveal.files.atomic import write_json_with_digest
from foveal.run.options import TrainRequest


@pytest.fixture(scope="module")
def group(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("group") / "three"
    data = DataOptions(few_digits, cache=cache)
    foveal.repeat(data, runs=3, recipe="model-s-02", settings=small, out=out)
    return out


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def test_runs_of_several_seeds(
    group: Path, few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    found = load_group(group)
    assert [run.path.name for run in found.runs] == ["seed-0", "seed-1", "seed-2"]
    accuracies = [run.evaluation("test").accuracy for run in found.runs]
    assert list(found.accuracies) == accuracies
    assert found.accuracy.mean == pytest.approx(np.mean(accuracies))
    assert found.variance_components is not None
    data = DataOptions(few_digits, cache=cache)
    alone = foveal.train(data, recipe="model-s-02", settings=small, out=tmp_path / "run", seed=2)
    assert weights(alone.path) == weights(group / "seed-2")
    told = str(found)
    assert "3 seeds, 30 test images: mean accuracy" in told
    assert "with another seed" in told
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["accuracy"]["n"] == 3


def test_it_goes_on_where_it_stopped(
    group: Path,
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in the middle of the second run; then the same call again, and once more with a run more."""
    out = tmp_path / "three"
    data = DataOptions(few_digits, cache=cache)
    again = {"recipe": "model-s-02", "settings": small, "out": out}
    real = repeating.start_run

    def pressed(request: TrainRequest) -> object:
        if request.seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(request)

    with monkeypatch.context() as patch:
        patch.setattr(repeating, "start_run", pressed)
        with pytest.raises((Interrupted, KeyboardInterrupt)):
            foveal.repeat(data, runs=2, **again)
    with pytest.raises(RunError):
        load_group(out)
    foveal.repeat(data, runs=2, **again)
    found = foveal.repeat(data, runs=3, **again)
    assert [weights(run.path) for run in found.runs] == [weights(group / f"seed-{seed}") for seed in range(3)]
    assert len(foveal.repeat(data, runs=1, **again).runs) == 1  # what is there beside stays


def test_the_command(
    group: Path,
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Path(shutil.copytree(group, tmp_path / "copy"))
    words = ["repeat", str(few_digits), "--runs", "3", "--recipe", "model-s-02", "--out", str(out)]
    words += ["--cache", str(cache), *(word for each in small for word in ("--set", each))]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["group"] == str(out)
    assert len(told["runs"]) == 3


def test_other_runs_in_the_folder_are_refused(
    group: Path, few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    data = DataOptions(few_digits, cache=cache)
    same = {"recipe": "model-s-02", "settings": small}
    with pytest.raises(RunError, match="holds runs with recipe"):
        foveal.repeat(data, out=group, **{**same, "recipe": "digits"})
    (tmp_path / "something").touch()
    with pytest.raises(RunError, match="no group of runs"):
        foveal.repeat(data, out=tmp_path, **same)
    with pytest.raises(RecipeError, match="one is the least"):
        foveal.repeat(data, runs=0, out=tmp_path / "x", **same)
    (tmp_path / "broken").mkdir()
    write_json_with_digest(tmp_path / "broken" / "group.json", {"schema": 1})
    with pytest.raises(RunError, match="not as Foveal wrote it: group lacks asked, runs"):
        load_group(tmp_path / "broken")


def test_where_each_seed_divides_anew_nothing_is_split(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    flat = Path(shutil.copytree(few_digits / "train", tmp_path / "data"))
    data = DataOptions(flat, cache=cache)
    found = foveal.repeat(data, runs=2, recipe="model-s-02", settings=small, out=tmp_path / "two")
    assert found.variance_components is None
    assert "divides the images anew" in str(found)


def test_recipes_are_compared_by_their_groups(
    group: Path,
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worse = [*small, "epochs=1", "learning_rate=0.00001"]
    data = DataOptions(few_digits, cache=cache)
    other = foveal.repeat(data, runs=3, recipe="model-s-02", settings=worse, out=tmp_path / "worse")
    found = foveal.compare(group, other)
    (pair,) = found.pairs
    assert pair.difference == pytest.approx(other.accuracy.mean - load_group(group).accuracy.mean)
    assert pair.difference < 0
    assert [each.runs for each in found.groups] == [3, 3]
    seconds = [run.summary()["seconds"] for run in other.runs]
    assert found.groups[1].seconds == pytest.approx(sum(seconds) / 3)
    assert found.groups[1].parameters == 2987
    same = foveal.compare(group, load_group(group)).pairs[0]
    assert (same.difference, same.verdict) == (0.0, "cannot be told apart")
    assert main(["compare", str(group), str(other.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "recipes"
    assert main(["compare", str(group), str(other.path)]) == 0
    assert "The recipe" in capsys.readouterr().out
    with pytest.raises(RunError, match="cannot be compared with each other"):
        foveal.compare(group, group / "seed-0")
    with pytest.raises(RunError, match="two groups"):
        foveal.compare(group)


def test_refused_data_leave_nothing_in_the_way(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "group"
    with pytest.raises(DataError):
        foveal.repeat(tmp_path / "missing", runs=1, recipe="digits", out=out)
    assert not out.exists()
    out.mkdir()  # as a kill leaves it that comes before the group's file is there
    small = ["epochs=1", "size=8"]
    data = DataOptions(few_digits, cache=cache)
    found = foveal.repeat(data, runs=1, recipe="model-s-02", settings=small, out=out)
    assert len(found.runs) == 1
