"""TensorBoard's files and a real MLflow server get each epoch once, whatever comes between."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import foveal
from foveal.cli.main import main
from foveal.errors import MissingExtraError, RecipeError
from foveal.files.atomic import append_jsonl, encode_line, read_json, read_jsonl
from foveal.files.run_folder import RunFolder
from foveal.run.loggers import Loggers


class Server:
    """MLflow's own server, on a port of this machine, with its store in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'store.db'}"]
        artifacts = ["--default-artifact-root", (self.folder / "artifacts").as_uri()]
        self.process = subprocess.Popen(
            [sys.executable, *words, *store, *artifacts],
            cwd=self.folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # it starts sooner
            start_new_session=True,  # it has workers: all of them end together
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 90
        while time.monotonic() < until:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError("the MLflow server does not come up")

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def tracked(server: Server, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    return MlflowClient(server.address)


def board(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: figures by tag and step."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    found: dict[str, list[tuple[int, float]]] = {}
    for tag in events.Tags()["tensors"]:
        if tag != "settings":
            found[tag] = [(each.step, float(make_ndarray(each.tensor_proto))) for each in events.Tensors(tag)]
    return found


def expected(run: Path) -> dict[str, list[tuple[int, Any]]]:
    history = RunFolder(run).history()
    tags = {
        "loss/training": "loss",
        "accuracy/training": "accuracy",
        "loss/validation": "validation_loss",
        "accuracy/validation": "validation_accuracy",
        "learning_rate": "learning_rate",
    }
    return {
        tag: [(each.epoch, pytest.approx(getattr(each, name), rel=1e-6)) for each in history]
        for tag, name in tags.items()
    }


def of_mlflow(client: MlflowClient, name: str) -> Any:
    (experiment,) = [each for each in client.search_experiments() if each.name == "data"]
    (run,) = [each for each in client.search_runs([experiment.experiment_id]) if each.info.run_name == name]
    return run


def steps(client: MlflowClient, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, metric)]


BOTH = ("--log", "tensorboard", "--log", "mlflow")


def command(data: Path, out: Path, cache: Path, small: tuple[str, ...], *more: str) -> list[str]:
    settings = [word for setting in small for word in ("--set", setting)]
    places = ["--out", str(out), "--cache", str(cache)]
    return ["train", str(data), "--recipe", "model-s-02", *places, *settings, *more]


def test_both_get_every_epoch_the_settings_and_the_test(
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    tmp_path: Path,
    tracked: MlflowClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "both"
    assert main(command(few_digits, out, cache, small, "--evaluate", "--json", *BOTH)) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(out)  # where MLflow would print, too
    found = board(out)
    test = read_json(out / "evaluation.json")["test"]
    last = len(RunFolder(out).history())
    assert found.pop("accuracy/test") == [(last, pytest.approx(test["accuracy"], rel=1e-6))]
    assert found.pop("loss/test") == [(last, pytest.approx(test["loss"], rel=1e-6))]
    assert found == expected(out)
    run = of_mlflow(tracked, "both")
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == str(RunFolder(out).recipe["epochs"])
    assert run.data.params["model.widths"]
    assert steps(tracked, run, "test_accuracy") == [(last, test["accuracy"])]
    for name in ("loss", "accuracy", "validation_loss", "learning_rate"):
        figures = [(each.epoch, getattr(each, name)) for each in RunFolder(out).history()]
        assert steps(tracked, run, name) == figures


def test_logging_changes_nothing_in_the_run(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path, tracked: MlflowClient
) -> None:
    runs = [
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / name,
            options=foveal.TrainOptions(log=log),
        )
        for name, log in (("plain", ()), ("logged", ("mlflow", "tensorboard")))
    ]
    plain, logged = ((run.path / "model" / "model.safetensors").read_bytes() for run in runs)
    assert plain == logged
    assert runs[0].folder.history() == runs[1].folder.history()


def test_a_finished_run_is_sent_once(finished: Path, tmp_path: Path, tracked: MlflowClient) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "late"))
    for _ in range(2):
        foveal.resume(out, options=foveal.TrainOptions(log=["tensorboard", "mlflow"]))
    found = board(out)
    assert {tag: found[tag] for tag in expected(out)} == expected(out)
    run = of_mlflow(tracked, "late")
    assert [step for step, _ in steps(tracked, run, "loss")] == [
        each.epoch for each in RunFolder(out).history()
    ]


def test_after_a_kill_each_epoch_is_there_once(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path, tracked: MlflowClient
) -> None:
    out = tmp_path / "killed"
    words = command(few_digits, out, cache, small, "--set", "epochs=8", *BOTH)
    process = subprocess.Popen([sys.executable, "-m", "foveal", *words], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        history = out / "history.jsonl"
        if history.is_file() and len(history.read_text().splitlines()) >= 2:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert len(RunFolder(out).history()) >= 2
    foveal.resume(out, options=foveal.TrainOptions(log=["tensorboard", "mlflow"]))
    assert board(out) == expected(out)
    run = of_mlflow(tracked, "killed")
    figures = [(each.epoch, each.loss) for each in RunFolder(out).history()]
    assert len(figures) == 8
    assert steps(tracked, run, "loss") == figures
    assert run.info.status == "FINISHED"


def test_a_server_that_goes_down_stops_nothing(
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    tmp_path: Path,
    server: Server,
    tracked: MlflowClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "down"
    server.stop()
    try:
        began = time.monotonic()
        run = foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=out,
            options=foveal.TrainOptions(log="mlflow"),
        )
        assert time.monotonic() - began < 60  # MLflow by itself waits for minutes
    finally:
        server.start()
    assert run.folder.state == "trained"
    told = capsys.readouterr().err
    assert told.count("mlflow takes nothing") == 1
    assert f"foveal resume {out} --log mlflow" in told
    foveal.resume(out, options=foveal.TrainOptions(log="mlflow"))
    figures = [(each.epoch, each.loss) for each in run.history]
    assert steps(tracked, of_mlflow(tracked, "down"), "loss") == figures


def test_an_epoch_trained_anew_is_sent_anew(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(finished, tmp_path / "anew")))
    Loggers(["tensorboard"], folder).finish()
    lines = (folder.path / "history.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    last["loss"] += 0.25
    folder.cut_history(len(lines) - 1)
    append_jsonl(folder.path / "history.jsonl", last)
    Loggers(["tensorboard"], folder).finish()
    found = board(folder.path)
    assert found["loss/training"][-1] == (last["epoch"], pytest.approx(last["loss"], rel=1e-6))
    assert len(found["accuracy/training"]) == len(lines)


def test_a_warning_hides_the_password(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    foveal.resume(
        Path(shutil.copytree(finished, tmp_path / "run")), options=foveal.TrainOptions(log="mlflow")
    )
    told = capsys.readouterr().err
    assert "mlflow takes nothing" in told
    assert "secret" not in told


def test_an_interrupted_run_is_let_go(finished: Path, tmp_path: Path, tracked: MlflowClient) -> None:
    folder = RunFolder(Path(shutil.copytree(finished, tmp_path / "left")))
    events = folder.path / "events.jsonl"  # a copy is the same run; this makes it another
    rows = list(read_jsonl(events))
    rows[0]["time"] = str(rows[0]["time"]).replace("20", "19", 1)
    events.write_bytes(b"".join(map(encode_line, rows)))
    loggers = Loggers(["mlflow"], folder)
    loggers.send()
    assert of_mlflow(tracked, "left").info.status == "RUNNING"
    loggers.leave()
    assert of_mlflow(tracked, "left").info.status == "KILLED"


def test_what_is_refused(few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="unknown logger 'mlfow'; did you mean 'mlflow'"):
        foveal.train(few_digits, out=tmp_path / "run", options=foveal.TrainOptions(log="mlfow"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("foveal.run.loggers.find_spec", lambda name: None if name == "sqlalchemy" else name)
    with pytest.raises(RecipeError, match="pip install mlflow"):
        foveal.train(few_digits, out=tmp_path / "run", options=foveal.TrainOptions(log="mlflow"))
    monkeypatch.setattr("foveal.run.loggers.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="foveal\\[log\\]"):
        foveal.train(few_digits, out=tmp_path / "run", options=foveal.TrainOptions(log="tensorboard"))
    assert not (tmp_path / "run").exists()
