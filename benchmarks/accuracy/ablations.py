"""What each part of the recipe `sprint` contributes: runs without it, or with another in its place.

    foveal data get cifar10 cifar10
    python -m benchmarks.accuracy.ablations cifar10
    python -m benchmarks.accuracy.ablations --table

Trains every variant with the seeds 0 to 4 on the notebook's four training folders, and evaluates it on the
validation folder; the test folder stays closed. A result is added to
`benchmarks/results/accuracy/ablations.jsonl` as soon as it is there, and what is there already is not run
again. `--table` prints them as Markdown, the table in `docs/sprint.md`. The seconds are processor time on one
thread, which depends less than wall time on what else the machine does. Two processes may share the work
(`--part 0/2`, `--part 1/2`). About half an hour.
"""

import contextlib
import json
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import mean, stdev
from unittest import mock

import torch
from torch import Tensor, nn

import foveal
from benchmarks import RESULTS
from benchmarks.measurement.command_line import create_parser
from benchmarks.measurement.journal import Journal, Line
from foveal.models import sprint
from foveal.recipe.optimizers import Muon, OptimizerConfig
from foveal.training import optimizers
from foveal.training.optimizers import Optimizer

FILE = RESULTS / "accuracy" / "ablations.jsonl"
SEEDS = range(5)
T_QUANTILE = 2.776
"""The 97.5 % quantile of Student's t distribution with four degrees of freedom."""
REFERENCE = "the recipe"
"""The name of the variant that changes nothing."""


def use_random_patches() -> AbstractContextManager[object]:
    """Use random filters of the same norm in place of those that whiten the patches."""
    compute_whitening = sprint.compute_whitening

    def draw_filters(images: Tensor, filters: int) -> tuple[Tensor, Tensor]:
        weight, _ = compute_whitening(images, filters)
        drawn = torch.randn(weight.shape, dtype=weight.dtype)
        drawn *= (weight.square().sum((1, 2, 3)) / drawn.square().sum((1, 2, 3))).sqrt()[:, None, None, None]
        pixels = images.mean((0, 2, 3)).double()
        return drawn, -(drawn * pixels[:, None, None]).sum((1, 2, 3))

    return mock.patch.object(sprint, "compute_whitening", draw_filters)


def skip_identity_initialisation() -> AbstractContextManager[object]:
    """Leave the filters as torch draws them."""
    return mock.patch.object(nn.init, "dirac_", lambda tensor, **_: tensor)


def train_filters_with_sgd(rate: float) -> AbstractContextManager[object]:
    """Train the filters like the other weights, with Nesterov's momentum in place of Muon."""
    build_optimizer = optimizers.build_optimizer

    def build_without_muon(config: OptimizerConfig, network: nn.Module, *, l2: float) -> Optimizer:
        assert isinstance(config, Muon)
        optimizer = build_optimizer(config, network, l2=l2)
        filters = optimizer.param_groups[0]
        filters |= {"lr": rate, "iterations": 0, "momentum": config.sgd_momentum}
        return optimizer

    return mock.patch.object(optimizers, "build_optimizer", build_without_muon)


VARIANTS: dict[str, tuple[list[str], Callable[[], AbstractContextManager[object]]]] = {
    REFERENCE: ([], contextlib.nullcontext),
    "random patches in place of whitening": ([], use_random_patches),
    "no identity-like initialisation": ([], skip_identity_initialisation),
    "ReLU in place of SiLU": (["activation=relu"], contextlib.nullcontext),
    "gradient descent for the filters, rate 1": ([], lambda: train_filters_with_sgd(1.0)),
    "gradient descent for the filters, rate 3": ([], lambda: train_filters_with_sgd(3.0)),
    "gradient descent for the filters, rate 10": ([], lambda: train_filters_with_sgd(10.0)),
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
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument("--cache", type=Path, help="where decoded images are kept")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th variant, from the I-th")
    parser.add_argument("--table", action="store_true", help="print what is there")
    args = parser.parse_args()
    journal = Journal(FILE)
    if args.table:
        print(format_results(journal.read_lines()))
        return
    if args.data is None:
        parser.error("name DATA")
    torch.set_num_threads(1)
    data = foveal.DataOptions(args.data, validation="train2", cache=args.cache)
    part, parts = map(int, args.part.split("/"))
    for variant in list(VARIANTS)[part::parts]:
        for seed in SEEDS:
            if journal.find({"variant": variant, "seed": seed}) is None:
                line = measure(data, variant, seed)
                with FILE.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{variant}, seed {seed}: {line['accuracy']:.2%}", flush=True)


def measure(data: foveal.DataOptions, variant: str, seed: int) -> Line:
    """Train one variant with one seed, and return its result."""
    settings, change = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder, change():
        began = time.process_time()
        out = Path(folder) / "run"
        run = foveal.train(data, recipe="sprint", seed=seed, settings=settings, out=out)
        seconds = time.process_time() - began
        validation = run.evaluation("validation")
        assert validation is not None
        environment = run.folder.environment
    return {
        "variant": variant,
        "settings": settings,
        "seed": seed,
        "accuracy": validation.accuracy,
        "loss": validation.loss,
        "cpu_seconds": round(seconds, 2),
        "machine": platform.machine(),
        "foveal": environment.foveal,
        "torch": environment.torch,
        "kernels": environment.kernels,
        "instructions": environment.instructions,
        "threads": environment.threads,
    }


def format_results(lines: list[Line]) -> str:
    """Return a table of accuracies, differences from the recipe paired by seed, and processor seconds."""
    reference = {line["seed"]: line["accuracy"] for line in lines if line["variant"] == REFERENCE}
    rows = [
        "| variant | n | validation accuracy | points against the recipe (95 %) | processor seconds |",
        "|---|---|---|---|---|",
    ]
    for variant in VARIANTS:
        runs = [line for line in lines if line["variant"] == variant]
        if not runs:
            continue
        accuracies = [100 * run["accuracy"] for run in runs]
        differences = [100 * (run["accuracy"] - reference[run["seed"]]) for run in runs]
        half_width = T_QUANTILE * stdev(differences) / len(differences) ** 0.5
        change = "" if variant == REFERENCE else f"{mean(differences):+.2f} (±{half_width:.2f})"
        seconds = mean(run["cpu_seconds"] for run in runs)
        accuracy = f"{mean(accuracies):.2f} % ± {stdev(accuracies):.2f}"
        rows.append(f"| {variant} | {len(runs)} | {accuracy} | {change} | {seconds:.1f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
