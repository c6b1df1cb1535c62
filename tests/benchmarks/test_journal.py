"""What the benchmarks that keep a line a run do beside running them: keys, lines, sets, tables."""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import CHECKOUT
from benchmarks.accuracy import budgets, sharp, small_sets
from benchmarks.measurement import child, foveal_process, journal, markdown
from benchmarks.peers import resnet


def test_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    kept = journal.Journal(tmp_path / "results" / "some.jsonl")
    taken = [
        kept.measure_once(
            {"seed": seed, "options": ["-a"]}, lambda: {"seconds": 2.5, "it": len(kept.read_lines())}
        )
        for seed in (0, 1, 0)
    ]
    assert [line["it"] for line in taken] == [0, 1, 0]
    assert [line["seed"] for line in kept.read_lines()] == [0, 1]
    assert kept.find({"seed": 1, "options": []}) is None
    assert {"started", "hardware", "versions", "environment", "load_before", "load_after"} <= set(taken[0])


def test_a_line_cut_short_is_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    kept = journal.Journal(file)
    kept.measure_once({"seed": 0}, dict)
    with file.open("a") as cut:
        cut.write('{"seed": 1, "sec')
    assert [line["seed"] for line in kept.read_lines()] == [0]
    kept.measure_once({"seed": 1}, dict)
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [0, 1]


def test_a_run_that_fails_leaves_no_line(tmp_path: Path, capsys: Any) -> None:
    kept = journal.Journal(tmp_path / "some.jsonl")

    def fail() -> dict[str, Any]:
        raise RuntimeError("no luck")

    assert kept.measure_once({"seed": 7}, fail) is None
    assert (kept.failed, kept.read_lines()) == (1, [])
    assert "seed 7\nno luck" in capsys.readouterr().err


def test_what_is_kept_names_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "terraform"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = journal.describe_circumstances()["environment"]
    assert found["OMP_NUM_THREADS"] == "1"
    assert "TF_CLI_CONFIG_FILE" not in found
    words = [sys.executable, "-c", "print('chatter'); print('{\"a\": 1}')"]
    took, said = foveal_process.run_json_command(words, folder=tmp_path, names={sys.executable: "python"})
    assert said == {"a": 1}
    assert took["command"].startswith("python -c print")


def test_words_after_two_dashes_are_passed_on(tmp_path: Path) -> None:
    parser = journal.create_journal_parser("", tmp_path / "some.jsonl", runs=3)
    asked, extra = journal.parse_arguments(parser, [str(tmp_path), "--quick", "--", "--validation", "none"])
    assert (asked.data, asked.runs, extra) == (tmp_path.resolve(), 1, ["--validation", "none"])
    with pytest.raises(SystemExit):
        journal.parse_arguments(parser, ["--quick"])


def test_events_are_kept_without_the_time_of_day(tmp_path: Path) -> None:
    events = [
        {"event": name, "time": "12:00", "step": 1} for name in ("created", "plan", "budget", "trained")
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert foveal_process.read_plan_events(tmp_path) == [
        {"event": name, "step": 1} for name in ("plan", "budget", "trained")
    ]


def test_numbers_are_laid_out_as_mean_deviation_and_range() -> None:
    laid = markdown.format_values
    assert laid([0.8, None, 0.82], ".1%") == "81.0% ± 1.4% (80.0% to 82.0%)"
    assert laid([-1.0, 2.0], "+.1f") == "+0.5 ± 2.1 (-1.0 to +2.0)"
    assert (laid([3.0], ".1f"), laid([None], ".1f")) == ("3.0", "")


# ---- budgets


def budget_line(**changes: Any) -> dict[str, Any]:
    line = {
        "data": "cifar10",
        "budget": 60.0,
        "seed": 0,
        "loaded": False,
        "options": [],
        "cached": False,
        "share": 0.98,
        "validation": None,
        "test": {"n": 10, "accuracy": 0.9},
        "events": [{"event": "plan"}, {"event": "budget"}],
        "threads": 2,
        "hardware": {"processor": "one", "cores": 2},
        "versions": {"commit": "abc", "torch": "2"},
    }
    return line | changes


def test_a_budget_is_kept_by_runs_that_end_in_time() -> None:
    lines = [budget_line(), budget_line(seed=1, share=1.01, test={"n": 10, "accuracy": 0.8}, events=[])]
    lines.append(budget_line(loaded=True, options=["--validation", "none"]))
    rows = [row.split(" | ") for row in budgets.format_results(lines).splitlines()[2:4]]
    assert rows[0][5:7] == ["2", "85.00% ± 7.07% (80.00% to 90.00%)"]
    assert rows[0][8:] == ["98.0% to 101.0%", "1 of 2", "0 to 1 |"]
    assert rows[1][2:6] == ["from half-way on", "`--validation none`", "decoded anew", "1"]


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_a_load_ends_with_the_block_and_may_never_begin() -> None:
    load_after = budgets.keep_core_busy_after
    with load_after(600) as never:
        pass
    with load_after(None) as none:
        pass
    assert never == none == {}
    with load_after(0.01) as load:
        child.run_process(
            [sys.executable, "-c", "import time; time.sleep(1)"],
            environment=dict(os.environ),
            folder=CHECKOUT,
        )
    assert load["seconds"] > 0
    assert load["cpu_seconds"] > 0
    if hasattr(os, "sched_getaffinity"):
        assert load["core"] == min(os.sched_getaffinity(0))


# ---- small sets


def test_of_every_class_as_many_are_drawn() -> None:
    drawn = small_sets.draw_from_classes
    by_class = {"a": list(range(50)), "b": list(range(100, 130))}
    found = drawn(by_class, 10, seed=3)
    assert found == drawn(by_class, 10, seed=3) != drawn(by_class, 10, seed=4)
    assert all(len(set(found[name])) == 10 and set(found[name]) <= set(by_class[name]) for name in by_class)


def cifar10(folder: Path) -> Path:
    """Write class folders in CIFAR-10's layout, with files that say where they come from."""
    for split in ("train1", "train2", "train3", "train4", "train5", "test"):
        for label in ("000_airplane", "003_cat", "005_dog"):
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(4):
                (place / f"{number}.png").write_text(f"{split} {label}")
    return folder


def test_sets_of_cifar10_keep_the_validation_folder_out_and_the_test_folder_whole(tmp_path: Path) -> None:
    sources = small_sets.Sources(cifar10(tmp_path / "cifar10"), None, tmp_path)

    def contents(folder: Path) -> list[str]:
        return sorted(file.read_text() for file in folder.rglob("*.png"))

    small_sets.make_cifar10(sources, 0, tmp_path / "some", n=30)
    assert [len(contents(place)) for place in sorted((tmp_path / "some" / "train").iterdir())] == [10] * 3
    assert "train2" not in " ".join(contents(tmp_path / "some" / "train"))
    assert contents(tmp_path / "some" / "test") == contents(tmp_path / "cifar10" / "test")

    small_sets.SETS["cat-dog"](sources, 0, tmp_path / "two")
    assert len(contents(tmp_path / "two" / "train")) == 2 * 4 * 4
    assert set(contents(tmp_path / "two" / "test")) == {"test 003_cat", "test 005_dog"}


def test_digits_are_divided_alike_in_every_class(tmp_path: Path) -> None:
    sources = small_sets.Sources(tmp_path, None, tmp_path)
    rows = np.zeros((5000, 785), dtype=np.uint8)
    rows[:, -1] = np.repeat(np.arange(10), 500)
    rows[:, 0] = np.arange(5000) % 251
    sources.__dict__["mnist"] = rows
    small_sets.make_mnist(sources, 5, tmp_path / "set")
    files = {split: list((tmp_path / "set" / split / "7").iterdir()) for split in ("train", "test")}
    assert {split: len(found) for split, found in files.items()} == {"train": 400, "test": 100}
    names = [file.name for found in files.values() for file in found]
    assert sorted(names) == [f"digit-{number:04d}.png" for number in range(3500, 4000)]


def test_other_digits_than_expected_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mnist_5k.csv.gz"
    file.write_bytes(b"something else")
    with pytest.raises(SystemExit, match="other digits"):
        _ = small_sets.Sources(tmp_path, file, tmp_path).mnist


def test_contenders_are_compared_seed_by_seed() -> None:

    def line(contender: str, seed: int, accuracy: float, **more: Any) -> dict[str, Any]:
        same = {"set": "digits", "budget": 30.0, "epochs": 5, "seconds": 29.0, "train": {"n": 100}}
        test = {"n": 10, "accuracy": accuracy}
        return budget_line(**same, contender=contender, seed=seed, test=test, **more)

    theirs = {"times": 10.0, "learning_rate": 0.1, "training_seconds": 290.0}
    lines = [line("foveal", 0, 0.90), line("foveal", 1, 0.95), line("foveal", 2, 0.1)]
    lines += [line("ResNet-20", 1, 0.92, **theirs), line("ResNet-20", 0, 0.89, **theirs)]
    rows = [row.split(" | ") for row in small_sets.format_results(lines).splitlines()[2:4]]
    assert rows[0][6] == "3"
    assert rows[1][5:7] == ["ResNet-20, 10 × as long", "2"]
    assert rows[1][-1] == "+2.00 ± 1.41 (+1.00 to +3.00) |"


# ---- the peer


def test_the_peer_is_resnet_20() -> None:
    network = resnet.ResNet20(3, 10)
    assert sum(each.numel() for each in network.parameters()) == 269_722  # 0.27 M in the paper's table 6
    assert sum(isinstance(each, torch.nn.Conv2d) for each in network.modules()) == 19
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_peer_sees_shifted_and_mirrored_images() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=random)
    data = resnet.TrainingImages(images, torch.arange(40), mirroring=True)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    torch.manual_seed(0)
    seen, places = [], set()
    for batch, labels in data.iterate_epoch(16):
        for image, label in zip(batch, labels.tolist(), strict=True):
            pixels = ((image * data.std + data.mean) * 255).round().to(torch.uint8)
            found = [
                (down, right, mirrored)
                for down in range(9)
                for right in range(9)
                for mirrored in (False, True)
                for crop in [padded[label, :, down : down + 32, right : right + 32]]
                if torch.equal(crop.flip(2) if mirrored else crop, pixels)
            ]
            assert len(found) == 1
            places.add(found[0])
            seen.append(label)
    assert sorted(seen) == list(range(40))
    assert len(places) > 20
    assert {mirrored for _, _, mirrored in places} == {False, True}


def test_the_peers_cosine_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rates = [0.0], []

    def step(network: Any, optimizer: Any, images: Any, labels: Any) -> float:
        now[0] += 1.0 if now[0] < 50 else 2.0  # the machine becomes slower
        rates.append(optimizer.param_groups[0]["lr"])
        return 0.5

    monkeypatch.setattr(resnet, "take_step", step)
    monkeypatch.setattr(resnet.time, "perf_counter", lambda: now[0])
    data = resnet.TrainingImages(
        torch.ones(64, 1, 32, 32, dtype=torch.uint8), torch.zeros(64), mirroring=False
    )
    network = torch.nn.Linear(1, 1)
    told = resnet.train(network, data, 16, seconds=100, step_seconds=4.0, rate=0.1)
    assert told["planned_steps"] == 25
    assert 98 <= now[0] <= 102
    assert 73 <= told["steps"] <= 76
    assert rates[0] == 0.1
    assert rates[-1] < 0.002
    assert all(later <= earlier for earlier, later in pairwise(rates))


# ---- sharp


def test_views_are_timed_apart_and_both_are_set_beside_the_notebook() -> None:
    line = budget_line(
        asked="sharp-93",
        seconds=100.0,
        views={"seconds": 25.0, "accuracy": 0.95},
        notebooks=[
            {"name": "slower", "start_up": 12.0, "epoch": 70.0},
            {"name": "faster", "start_up": 12.0, "epoch": 12.0},
        ],
    )
    assert sharp.notebook_seconds(line) == 12.0 + 19 * 12.0
    once, both, views = (row.split(" | ") for row in sharp.format_results([line]).splitlines()[2:5])
    assert once[6:] == ["90.00%", "100.0", "0.42 |"]
    assert both[6:] == ["95.00%", "125.0", "0.52 |"]
    assert views[7] == "25.0"
    assert sharp.notebook_seconds({**line, "notebooks": []}) is None
