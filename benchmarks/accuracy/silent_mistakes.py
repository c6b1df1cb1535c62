"""Silent mistakes: what other loaders of class folders do with what people really have, and what Foveal does.

    python -m benchmarks.accuracy.silent_mistakes
    python -m benchmarks.accuracy.silent_mistakes --table

Each case is a small folder, made here, that has one peculiarity: split folders under other names, thumbnails
of a storage device, a JPEG with half of its bytes missing, 12-bit values in 16-bit files. A contender makes a
silent mistake if it reads the folder otherwise than a person would, and neither refuses it nor says so. What
it prints counts as said if it names the affected file or folder, or the peculiarity.

The contenders are Keras' `image_dataset_from_directory`, torchvision's `ImageFolder`, ultralytics'
`ClassificationDataset` with `check_cls_dataset`, each by its defaults, and `foveal train`. TensorFlow, which
Keras' function needs, gets an environment of its own, as in `benchmarks.peers.notebook_keras`. torchvision
and ultralytics are installed without their dependencies into a folder beside it, so that Foveal's torch is
not replaced. torchvision's compiled operators may not fit this torch, and are left out; `ImageFolder` uses
none.

The result is `benchmarks/results/accuracy/silent_mistakes.json`. About two minutes, and ten more to install.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import CHECKOUT, RESULTS
from benchmarks.measurement import machine
from benchmarks.measurement.command_line import create_parser

SIDE = 16
RESULT = RESULTS / "accuracy" / "silent_mistakes.json"
CONTENDERS = {
    "foveal": "Foveal",
    "keras": "Keras' image_dataset_from_directory",
    "torchvision": "torchvision's ImageFolder",
    "ultralytics": "ultralytics' ClassificationDataset",
}
PACKAGES = (
    "torchvision==0.28.*",
    "ultralytics",
    "ultralytics-thop",
    "opencv-python-headless",
    "pyyaml",
    "requests",
    "psutil",
    "polars",
)
_KEPT: list[object] = []
SPLIT = re.compile(r"(train|val|test)\w*", re.IGNORECASE)

Reading = dict[str, Any]
"""What a contender makes of a folder: `refused` (a text or None), `said`, `classes`, `files` as pairs of the
path and the class that training gets, and `pixels` by path."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A folder with one peculiarity, and how to tell that it was misread."""

    name: str
    build: Callable[[Path], None]
    """Makes the folder."""
    is_wrong: Callable[[Reading], bool]
    """Whether a reading is otherwise than a person's."""
    words: tuple[str, ...]
    """What is printed counts as a warning if it has one of these, in upper or lower case."""


# ---- building


def draw(k: int, i: int) -> Any:  # noqa: ANN401 - an array
    """Return an image uint8 (S, S, 3): noise with a bright block whose place tells class `k`."""
    random = np.random.default_rng([k, i])
    pixels = random.integers(0, 90, (SIDE, SIDE, 3))
    y, x = divmod(k % 4, 2)
    pixels[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 150
    return pixels.astype(np.uint8)


def save(pixels: Any, file: Path, **options: Any) -> None:  # noqa: ANN401 - an array
    """Write an array as an image file of the format that its name says."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def fill(folder: Path, k: int, n: int = 12, *, start: int = 0, ending: str = "png") -> None:
    """Write `n` images of a class into a folder."""
    for i in range(start, start + n):
        save(draw(k, i), folder / f"i{i:03d}.{ending}")


def fill_classes(root: Path) -> None:
    """Write two classes, a and b."""
    for k, name in enumerate("ab"):
        fill(root / name, k)


def build_other_splits(root: Path, names: tuple[str, str]) -> None:
    """Write two classes into split folders of these names."""
    for k, name in enumerate("ab"):
        fill(root / names[0] / name, k, 12)
        fill(root / names[1] / name, k, 6, start=100)


def build_splits_below_classes(root: Path) -> None:
    """Write split folders below class folders."""
    for k, name in enumerate("ab"):
        fill(root / name / "train", k, 12)
        fill(root / name / "test", k, 6, start=100)


def build_with(*paths: str) -> Callable[[Path], None]:
    """Return a function that writes two classes, and further images at these paths."""

    def build(root: Path) -> None:
        fill_classes(root)
        for index, path in enumerate(paths):
            save(draw(3, 900 + index), root / path)

    return build


def build_two_forms_of_a_name(root: Path) -> None:
    """Write one class name in two Unicode forms."""
    fill(root / "k\u00f6ln", 0)
    fill(root / "ko\u0308ln", 0, start=50)
    fill(root / "bonn", 1)


def build_half_jpeg(root: Path) -> None:
    """Write a JPEG file whose second half is zeros."""
    fill_classes(root)
    content = io.BytesIO()
    save_to(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8), content, "JPEG")
    half = len(content.getvalue()) // 2
    (root / "a" / "half.jpg").write_bytes(content.getvalue()[:half] + bytes(half))


def save_to(pixels: Any, file: io.BytesIO, form: str) -> None:  # noqa: ANN401 - an array
    """Write an array as an image file in memory."""
    from PIL import Image

    Image.fromarray(pixels).save(file, form, quality=90)


def build_deep(change: Callable[[Any, int], Any], ending: str) -> Callable[[Path], None]:
    """Return a function that writes two classes of deep greyscale, made of values from 0 to 255."""

    def build(root: Path) -> None:
        for k, name in enumerate("ab"):
            for i in range(12):
                values = draw(k, i)[..., 0].astype(np.float64)
                save(change(values, i), root / name / f"i{i:03d}.{ending}")

    return build


def add_hot_pixel(values: Any, i: int) -> Any:  # noqa: ANN401 - arrays
    """Return 12-bit values with one hot pixel in the first image."""
    deep = (values * 16).astype(np.uint16)
    if i == 0:
        deep[0, 0] = 65535
    return deep


def build_duplicates(root: Path) -> None:
    """Write the same bytes into two classes."""
    fill_classes(root)
    shutil.copy(root / "a" / "i000.png", root / "b" / "copy.png")


def build_leak(root: Path) -> None:
    """Write the same bytes into the training and the test folder."""
    build_other_splits(root, ("train", "test"))
    shutil.copy(root / "train" / "a" / "i000.png", root / "test" / "a" / "copy.png")


def build_transparent(root: Path) -> None:
    """Write images whose transparent part hides a colour."""
    for k, name in enumerate("ab"):
        for i in range(12):
            pixels = np.dstack([draw(k, i), np.full((SIDE, SIDE), 255, np.uint8)])
            pixels[:4, :4] = (255, 0, 255, 0)
            save(pixels, root / name / f"i{i:03d}.png")


def build_pages(root: Path) -> None:
    """Write TIFF files of two pages."""
    from PIL import Image

    for k, name in enumerate("ab"):
        (root / name).mkdir()
        for i in range(12):
            pages = [Image.fromarray(draw(k, i + 100 * page)) for page in range(2)]
            pages[0].save(root / name / f"i{i:03d}.tif", save_all=True, append_images=pages[1:])


def build_formats(root: Path) -> None:
    """Write one class as PNG and one half as WebP, half as TIFF."""
    fill(root / "a", 0)
    fill(root / "b", 1, 6, ending="webp")
    fill(root / "b", 1, 6, start=50, ending="tif")


# ---- judging


def has_other_classes(*expected: str) -> Callable[[Reading], bool]:
    """Return a function that tells whether the classes are not the expected ones."""
    return lambda reading: sorted(reading["classes"]) != sorted(expected)


def mixes_splits(reading: Reading) -> bool:
    """Return whether images of a test folder are among those to train on, or classes have names of splits."""
    in_test = [path for path, _ in reading["files"] if Path(path).stem.startswith("i1")]
    return bool(in_test) or any(SPLIT.fullmatch(name) for name in reading["classes"])


def uses(*names: str) -> Callable[[Reading], bool]:
    """Return a function that tells whether a file with one of these texts in its path is used."""
    return lambda reading: any(name in path for path, _ in reading["files"] for name in names)


def lacks_files(n: int) -> Callable[[Reading], bool]:
    """Return a function that tells whether fewer files are used."""
    return lambda reading: len(reading["files"]) < n


def has_poor_pixels(reading: Reading) -> bool:
    """Return whether images are missing, almost without contrast, or do not follow the original values."""
    if len(reading["pixels"]) < 24:
        return True
    for path, pixels in reading["pixels"].items():
        grey = np.asarray(pixels, dtype=np.float64).mean(axis=2)
        original = draw("ab".index(Path(path).parts[0]), int(Path(path).stem[1:]))[..., 0]
        spread = np.percentile(grey, 95) - np.percentile(grey, 5)
        if spread < 40 or np.corrcoef(grey.ravel(), original.ravel())[0, 1] < 0.9:
            return True
    return False


def shows_hidden_colour(reading: Reading) -> bool:
    """Return whether the colour under transparent pixels is seen."""
    corners = [np.asarray(pixels)[1, 1] for pixels in reading["pixels"].values()]
    return bool(np.abs(np.median(corners, axis=0) - (255, 0, 255)).max() < 30)


def always(_reading: Reading) -> bool:
    """Return true: here nobody can read the folder right without a word."""
    return True


def list_cases() -> list[Case]:
    """Return all cases."""

    def to_splits(*names: str) -> Case:
        return Case(
            name=f"split folders {names[0]} and {names[1]}",
            build=lambda root: build_other_splits(root, (names[0], names[1])),
            is_wrong=mixes_splits,
            words=(),
        )

    def junk(name: str, *paths: str) -> Case:
        part = Path(paths[0]).parts[0] if len(Path(paths[0]).parts) == 2 else Path(paths[0]).parts[1]
        return Case(name=name, build=build_with(*paths), is_wrong=uses(f"{part}/"), words=(part,))

    def deep(name: str, change: Callable[[Any, int], Any], ending: str = "png") -> Case:
        words = ("deep", "16-bit", "range", "clip")
        return Case(name=name, build=build_deep(change, ending), is_wrong=has_poor_pixels, words=words)

    return [
        to_splits("Training", "Testing"),
        to_splits("train_set", "test_set"),
        to_splits("01_train", "02_test"),
        to_splits("entrainement", "essai"),
        Case(name="split folders below class folders", build=build_splits_below_classes,
             is_wrong=mixes_splits, words=()),
        junk("thumbnails in @eaDir", "a/@eaDir/SYNOPHOTO_THUMB_S.jpg", "b/@eaDir/SYNOPHOTO_THUMB_S.jpg"),
        junk("a Mac archive's __MACOSX", "__MACOSX/x.png"),
        junk("a recycle bin", "$RECYCLE.BIN/x.png"),
        junk("lost+found", "lost+found/x.png"),
        Case(name="one class name in two Unicode forms", build=build_two_forms_of_a_name,
             is_wrong=lambda reading: len(reading["classes"]) != 2, words=("unicode", "same name")),
        deep("12-bit values in 16-bit PNG", lambda values, _: (values * 16).astype(np.uint16)),
        deep("one hot pixel in 12-bit PNG", add_hot_pixel),
        deep("floats 0 to 1 in TIFF", lambda values, _: (values / 255).astype(np.float32), "tif"),
        deep("whole numbers to 100,000 in TIFF", lambda values, _: (values * 400).astype(np.int32), "tif"),
        Case(name="the same bytes in two classes", build=build_duplicates, is_wrong=always,
             words=("copy.png", "duplicate", "same bytes")),
        Case(name="the same bytes in training and test", build=build_leak, is_wrong=always,
             words=("copy.png", "duplicate", "same bytes")),
        Case(name="a JPEG whose second half is zeros", build=build_half_jpeg, is_wrong=uses("half.jpg"),
             words=("half.jpg",)),
        Case(name="a colour hidden by transparency", build=build_transparent, is_wrong=shows_hidden_colour,
             words=("transparen", "alpha")),
        Case(name="TIFF of two pages", build=build_pages, is_wrong=always, words=("page", "frame")),
        Case(name="WebP and TIFF beside PNG", build=build_formats, is_wrong=lacks_files(24),
             words=("webp", "tif")),
    ]  # fmt: skip


def judge(case: Case, reading: Reading) -> str:
    """Return how a contender read a case: refused, right, said, or silently wrong."""
    if reading["refused"] is not None:
        return "refused"
    said = any(word.casefold() in reading["said"].casefold() for word in case.words)
    if not case.is_wrong(reading):
        return "right"
    return "said" if said else "silently wrong"


# ---- the contenders, each in a process of its own


def read_keras(root: Path) -> Reading:
    """Read a folder, or its train folder if it has one, as Keras does."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    top = root / "train" if (root / "train").is_dir() else root
    data = keras.utils.image_dataset_from_directory(top, image_size=(SIDE, SIDE), batch_size=1, shuffle=False)
    paths = [Path(path).relative_to(top).as_posix() for path in data.file_paths]
    files, pixels = [], {}
    for path, (image, label) in zip(paths, data, strict=True):
        files.append([path, data.class_names[int(label[0])]])
        pixels[path] = image[0].numpy().tolist()
    return {"classes": data.class_names, "files": files, "pixels": pixels}


@cache
def leave_out_operators() -> None:
    """Let torchvision be imported without its compiled operators, which may not fit this torch."""
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # they are there
            library.define(f"{name}() -> ()")
    _KEPT.append(library)  # it ends what it defined when it is gone


def read_torchvision(root: Path) -> Reading:
    """Read a folder, or its train folder if it has one, as torchvision does."""
    leave_out_operators()
    from torchvision.datasets import ImageFolder  # type: ignore[import-not-found]

    top = root / "train" if (root / "train").is_dir() else root
    data = ImageFolder(top)
    paths = [Path(path).relative_to(top).as_posix() for path, _ in data.samples]
    files = [[path, data.classes[label]] for path, (_, label) in zip(paths, data.samples, strict=True)]
    pixels = {path: np.asarray(data[index][0]).tolist() for index, path in enumerate(paths)}
    return {"classes": data.classes, "files": files, "pixels": pixels}


def read_ultralytics(root: Path) -> Reading:
    """Read a folder as ultralytics does: where there is no train folder, it divides the images."""
    leave_out_operators()
    from ultralytics.cfg import get_cfg  # type: ignore[import-not-found]
    from ultralytics.data.dataset import ClassificationDataset  # type: ignore[import-not-found]
    from ultralytics.data.utils import check_cls_dataset  # type: ignore[import-not-found]

    checked = check_cls_dataset(root)
    files, pixels = [], {}
    divided = not (root / "train").is_dir()
    for split in ("train", "val") if divided else ("train",):
        data = ClassificationDataset(checked[split], get_cfg())
        for path, label, *_ in data.samples:
            name = Path(path).relative_to(checked[split]).as_posix()
            files.append([name, data.base.classes[label]])
            pixels[name] = data.imread(str(path))[..., ::-1].tolist()
    return {"classes": list(checked["names"].values()), "files": files, "pixels": pixels}


def read_foveal(root: Path) -> Reading:
    """Read a folder as `foveal train` does."""
    import foveal

    with tempfile.TemporaryDirectory() as work:
        data = foveal.DataOptions(root, cache=f"{work}/cache")
        settings = {"epochs": 1, "image.size": SIDE, "image.channels": "rgb"}
        run = foveal.train(data, recipe="digits", settings=settings, out=f"{work}/run")
        dataset = run.dataset
        whole = dataset.listing is not None and dataset.listing.layout == "flat"
        splits = dataset.splits
        parts = [*splits.train, splits.validation, *([splits.test] if whole else [])]
        chosen = np.concatenate(parts).tolist()
        files = [[dataset.pack.paths[i], dataset.classes[dataset.labels[i]]] for i in chosen]
        pixels = {dataset.pack.paths[i]: np.array(dataset.pack.pixels[i]).tolist() for i in chosen}
    return {"classes": list(dataset.classes), "files": files, "pixels": pixels}


def read_all(contender: str, folder: Path) -> None:
    """Read all folders in a folder in this process, and write the readings into `readings.json` there."""
    readers = {
        "keras": read_keras,
        "torchvision": read_torchvision,
        "ultralytics": read_ultralytics,
        "foveal": read_foveal,
    }
    readings = []
    for root in sorted(folder.glob("case-??")):
        with capture_output(folder / "said") as said:
            try:
                reading = {"refused": None, **readers[contender](root)}
            except Exception as error:  # whatever a contender raises is its refusal
                refused = f"{type(error).__name__}: {error}"[:300]
                reading = {"refused": refused, "classes": [], "files": [], "pixels": {}}
        readings.append({**reading, "said": said.read_text(encoding="utf-8", errors="replace")})
    (folder / "readings.json").write_text(json.dumps(readings), encoding="utf-8")


@contextlib.contextmanager
def capture_output(file: Path) -> Iterator[Path]:
    """Let all that this process prints go into a file, whichever library prints it."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with file.open("wb") as into:
        for descriptor in (1, 2):
            os.dup2(into.fileno(), descriptor)
        try:
            yield file
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, before in zip((1, 2), kept, strict=True):
                os.dup2(before, descriptor)
                os.close(before)


def ask(contender: str, python: str, packages: Path, cases: Sequence[Case]) -> list[Reading]:
    """Make all folders, and let a contender read them in another process."""
    environment = os.environ | {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(packages / "settings")}
    if contender in ("torchvision", "ultralytics"):
        environment["PYTHONPATH"] = str(packages)
    with tempfile.TemporaryDirectory() as work:
        for index, case in enumerate(cases):
            root = Path(work) / f"case-{index:02d}"
            root.mkdir()
            case.build(root)
        command = [python, "-m", "benchmarks.accuracy.silent_mistakes", "--read", contender, work]
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=True)
        readings: list[Reading] = json.loads((Path(work) / "readings.json").read_text(encoding="utf-8"))
        return [{**each, "refused": hide_folder(each["refused"], work)} for each in readings]


def install(packages: Path) -> None:
    """Install torchvision and ultralytics into a folder of their own, without their dependencies."""
    if (packages / "ready").is_file():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--target", str(packages), *PACKAGES], check=True)
    (packages / "ready").touch()


def measure(keras_python: str, packages: Path) -> dict[str, Any]:
    """Let every contender read every case."""
    cases = list_cases()
    results: list[dict[str, Any]] = [{"case": case.name} for case in cases]
    for contender in CONTENDERS:
        python = keras_python if contender == "keras" else sys.executable
        readings = ask(contender, python, packages, cases)
        for case, reading, result in zip(cases, readings, results, strict=True):
            result[contender] = {"outcome": judge(case, reading), "refused": reading["refused"]}
    counts = {
        name: sum(result[name]["outcome"] == "silently wrong" for result in results) for name in CONTENDERS
    }
    return {
        "schema": 1,
        "command": "python -m benchmarks.accuracy.silent_mistakes",
        "cases": results,
        "silently_wrong": counts,
        "versions": machine.describe_versions() | list_versions(keras_python, packages),
        "hardware": machine.describe_hardware(),
    }


def hide_folder(text: str | None, folder: str) -> str | None:
    """Return a text without the name of a temporary folder."""
    return None if text is None else text.replace(folder + "/", "")


def list_versions(keras_python: str, packages: Path) -> dict[str, str]:
    """Return the versions of the contenders."""
    found = {}
    for python, path, names in (
        (keras_python, "", ("keras", "tensorflow-cpu", "tensorflow")),
        (sys.executable, str(packages), ("torchvision", "ultralytics")),
    ):
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        for name in names:
            command = [python, "-c", code, name]
            environment = os.environ | ({"PYTHONPATH": path} if path else {})
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[name] = done.stdout.strip()
    return found


def format_result(result: dict[str, Any]) -> str:
    """Return the result as a table in Markdown."""
    from benchmarks.measurement.markdown import format_table

    rows = [[each["case"], *(each[name]["outcome"] for name in CONTENDERS)] for each in result["cases"]]
    total = [f"**{result['silently_wrong'][name]} of {len(rows)}**" for name in CONTENDERS]
    return format_table(["case", *CONTENDERS.values()], [*rows, ["**silently wrong**", *total]])


def main() -> None:
    """Read the command line; install, measure and write the result, or print it."""
    parser = create_parser(__doc__)
    parser.add_argument("--table", action="store_true", help="print the stored result as a table")
    parser.add_argument("--keras-environment", type=Path, metavar="DIR", help="where TensorFlow is installed")
    parser.add_argument("--packages", type=Path, metavar="DIR", help="where the other packages are installed")
    parser.add_argument("--read", nargs=2, metavar=("CONTENDER", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read_all(options.read[0], Path(options.read[1]))
        return
    if not options.table:
        from platformdirs import user_cache_path

        from benchmarks.peers.notebook_keras import prepare_environment

        keras_python = prepare_environment("current", environment=options.keras_environment)
        packages = options.packages or user_cache_path("foveal") / "benchmarks" / "image-folders"
        install(packages)
        RESULT.write_text(json.dumps(measure(str(keras_python), packages), indent=2) + "\n", encoding="utf-8")
    print(format_result(json.loads(RESULT.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
