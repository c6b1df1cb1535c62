"""What each part of the recipe `sprint` buys: runs without it, or with another in its place.

    foveal data get cifar10 cifar10
    python benchmarks/ablations.py cifar10
    python benchmarks/ablations.py cifar10 --table

Trains every variant with the seeds 0 to 4 on the notebook's four training folders and judges it on its
validation folder; the test folder stays closed. A result is added to `benchmarks/results/ablations.jsonl` as
soon as it is there, and what is there already is not run again; `--table` prints them as Markdown, the table
in `docs/sprint.md`. The seconds are processor time on one thread, which depends less on what else the machine
does than the clock; two processes may share the work (`--part 0/2`, `--part 1/2`).
"""

import argparse
import contextlib
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

import foveal
from foveal.models import sprint
from foveal.training import optimizers

RESULTS = Path(__file__).parent / "results" / "ablations.jsonl"
SEEDS = range(5)
STUDENT = 2.776
"""95 % of Student's distribution with four degrees of freedom lie within so many standard errors."""


@contextlib.contextmanager
def random_patches() -> Iterator[None]:
    """Take random filters of the whitening's size in its place."""

    def random(images: Tensor, filters: int) -> tuple[Tensor, Tensor]:
        weight, _ = whitening(images, filters)
        drawn = torch.randn(weight.shape, dtype=weight.dtype)
        drawn *= (weight.square().sum((1, 2, 3)) / drawn.square().sum((1, 2, 3))).sqrt()[:, None, None, None]
        pixels = images.mean((0, 2, 3)).double()
        return drawn, -(drawn * pixels[:, None, None]).sum((1, 2, 3))

    whitening, sprint.whitening_filters = sprint.whitening_filters, random
    try:
        yield
    finally:
        sprint.whitening_filters = whitening


@contextlib.contextmanager
def no_identity() -> Iterator[None]:
    """Leave the filters as torch draws them."""
    dirac = nn.init.dirac_
    nn.init.dirac_ = lambda tensor, groups=1: tensor
    try:
        yield
    finally:
        nn.init.dirac_ = dirac


@contextlib.contextmanager
def gradient_descent(rate: float) -> Iterator[None]:
    """Train the filters as the rest is trained, by Nesterov's momentum, in place of Muon."""
    build = optimizers.build

    def without_muon(config: Any, network: nn.Module, *, l2: float) -> optimizers.Optimizer:  # noqa: ANN401
        made = build(config, network, l2=l2)
        filters = made.param_groups[0]
        filters |= {"lr": rate, "iterations": 0, "momentum": config.sgd_momentum}
        return made

    optimizers.build = without_muon
    try:
        yield
    finally:
        optimizers.build = build


VARIANTS: dict[str, tuple[list[str], Callable[[], AbstractContextManager[None]]]] = {
    "the recipe": ([], contextlib.nullcontext),
    "random patches in place of whitening": ([], random_patches),
    "no identity-like initialisation": ([], no_identity),
    "ReLU in place of SiLU": (["activation=relu"], contextlib.nullcontext),
    "gradient descent for the filters, rate 1": ([], lambda: gradient_descent(1.0)),
    "gradient descent for the filters, rate 3": ([], lambda: gradient_descent(3.0)),
    "gradient descent for the filters, rate 10": ([], lambda: gradient_descent(10.0)),
    "flips by chance": (["alternate=false"], contextlib.nullcontext),
    "no flips": (["alternate=false", "flip=false"], contextlib.nullcontext),
    "with shifts by up to 2 pixels": (["shift=2"], contextlib.nullcontext),
    "no label smoothing": (["label_smoothing=0.0"], contextlib.nullcontext),
    "no low resolution": (["low_resolution=none"], contextlib.nullcontext),
    "low resolution for half of the steps": (["low_resolution.share=0.5"], contextlib.nullcontext),
    "with a warm-up over a tenth of the steps": (["warm_up=0.1"], contextlib.nullcontext),
    "batches of 500": (["batch_size=500"], contextlib.nullcontext),
    "five iterations in Muon": (["iterations=5"], contextlib.nullcontext),
    "first group half as wide": (["widths=[16,64,80]"], contextlib.nullcontext),
    "last group of 64": (["widths=[32,64,64]"], contextlib.nullcontext),
}


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument("--cache", type=Path, help="where decoded images are kept")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th variant, from the I-th")
    parser.add_argument("--table", action="store_true", help="print what is there")
    asked = parser.parse_args()
    if asked.table:
        print(table())
        return
    torch.set_num_threads(1)
    part, parts = map(int, asked.part.split("/"))
    for name in list(VARIANTS)[part::parts]:
        for seed in SEEDS:
            if not any(each["variant"] == name and each["seed"] == seed for each in results()):
                measure(asked.data, asked.cache, name, seed)


def results() -> list[dict[str, Any]]:
    """Read what is there."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def measure(data: Path, cache: Path | None, name: str, seed: int) -> None:
    """Train one variant with one seed and add its result."""
    settings, changed = VARIANTS[name]
    with tempfile.TemporaryDirectory() as folder, changed():
        began = time.process_time()
        run = foveal.train(
            data,
            recipe="sprint",
            validation="train2",
            seed=seed,
            settings=settings,
            out=Path(folder) / "run",
            cache=cache,
        )
        seconds = time.process_time() - began
        validation = run.evaluation("validation")
        assert validation is not None
        environment = run.folder.environment
    line = {
        "variant": name,
        "settings": settings,
        "seed": seed,
        "accuracy": validation.accuracy,
        "loss": validation.loss,
        "cpu_seconds": round(seconds, 2),
        "machine": platform.machine(),
        **{each: environment[each] for each in ("foveal", "torch", "kernels", "instructions", "threads")},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{name}, seed {seed}: {validation.accuracy:.2%}", flush=True)


def table() -> str:
    """Lay out accuracies, the differences to the recipe paired by seed, and processor seconds."""
    found = results()
    recipe = {each["seed"]: each for each in found if each["variant"] == "the recipe"}
    lines = [
        "| variant | n | validation accuracy | points against the recipe (95 %) | processor seconds |",
        "|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        runs = [each for each in found if each["variant"] == name]
        if not runs:
            continue
        accuracies = [100 * each["accuracy"] for each in runs]
        differences = [100 * (each["accuracy"] - recipe[each["seed"]]["accuracy"]) for each in runs]
        spread = STUDENT * stdev(differences) / len(differences) ** 0.5
        change = "" if name == "the recipe" else f"{mean(differences):+.2f} (±{spread:.2f})"
        seconds = mean(each["cpu_seconds"] for each in runs)
        accuracy = f"{mean(accuracies):.2f} % ± {stdev(accuracies):.2f}"
        lines.append(f"| {name} | {len(runs)} | {accuracy} | {change} | {seconds:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
