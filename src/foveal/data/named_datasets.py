"""Named datasets, written as class folders: the digits of scikit-learn and CIFAR-10.

The folders appear under their name when they are complete, and not before.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveal import progress
from foveal.data.archive import Member, iter_members
from foveal.errors import DataError, MissingExtraError
from foveal.files.atomic import outside_faults
from foveal.files.leftovers import MAKER, remove_leftovers, sign_unfinished
from foveal.types import Pixels

DATASET_NAMES = ("cifar10", "digits")
"""The names that `get` knows."""


def get(
    name: str,
    destination: str | os.PathLike[str],
    *,
    archive: str | os.PathLike[str] | None = None,
    exist_ok: bool = False,
) -> Path:
    """Write a named dataset as class folders.

    >>> foveal.get("digits", "digits", exist_ok=True)
    PosixPath('digits')

    Args:
        name: One of `DATASET_NAMES`.
        destination: The folder to make. `cifar10` becomes `train1` … `train5` and `test`, each with
            `000_airplane` … `009_truck`; `digits` becomes `train` and `test`, each with `0` … `9`.
        archive: CIFAR-10's Python archive, if it was downloaded before. Without it, it is downloaded into
            the user's cache folder.
        exist_ok: Return a folder that exists and is not empty as it is, without checking its content. This
            suits scripts and notebooks that run again.

    Returns:
        The destination.

    Raises:
        DataError: The name is unknown, the destination is in use, or the archive is not what it should be.
        MissingExtraError: `digits` without scikit-learn.
        OutsideError: The network or the disk failed.
    """
    folder = Path(destination)
    if exist_ok and name in DATASET_NAMES and folder.is_dir() and any(folder.iterdir()):
        return folder
    match name:
        case "cifar10":
            return write_batch_archive(CIFAR10, folder, archive=None if archive is None else Path(archive))
        case "digits":
            if archive is not None:
                raise DataError("digits come with scikit-learn, not from an archive; leave --archive out")
            return write_digits(folder)
    import difflib

    similar = difflib.get_close_matches(re.sub("[-_ ]", "", name.lower()), DATASET_NAMES, n=1)
    suggestion = f"did you mean {similar[0]}? " if similar else ""
    raise DataError(
        f"no dataset is called {progress.printable(name)!r}; {suggestion}known are: "
        f"{', '.join(DATASET_NAMES)}"
    )


# ---- CIFAR-10


@dataclass(frozen=True, kw_only=True)
class Batch(Member):
    """A file of images in an archive, and the places of its parts."""

    split: str
    """The split that the file becomes."""
    labels_offset: int
    """The number of bytes before the labels."""
    pixels_offset: int
    """The number of bytes before the pixels. The file names follow the pixels."""


@dataclass(frozen=True, kw_only=True)
class BatchArchive:
    """An archive of pickled batches of images in CIFAR-10's form."""

    name: str
    """The name of the dataset."""
    url: str
    """The address of the archive."""
    md5: str
    """The digest of the published archive. One packed anew is accepted too, as its members are checked."""
    max_bytes: int
    """The largest number of bytes, packed or unpacked, that are read from the archive."""
    batches: Mapping[str, Batch]
    """The batches by their names in the archive."""
    images_per_batch: int
    """The number of images in each batch."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the labels."""
    side: int
    """The width and height of the images. They have three channels."""

    @property
    def n_images(self) -> int:
        """The number of images in all batches."""
        return len(self.batches) * self.images_per_batch


def _cifar10_batch(split: str, size: int, md5: str) -> Batch:
    # The pickles of the training batches begin with "training batch k of 5", that of the test batch with
    # "testing batch 1 of 1", which is one byte shorter.
    first = 59 if split == "test" else 60
    return Batch(size=size, md5=md5, split=split, labels_offset=first, pixels_offset=first + 20_158)


CIFAR10 = BatchArchive(
    name="cifar10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    max_bytes=1 << 28,  # 171 MB packed, 186 MB unpacked
    batches={
        f"cifar-10-batches-py/{name}": _cifar10_batch(split, size, md5)
        for name, split, size, md5 in (
            ("data_batch_1", "train1", 31_035_704, "c99cafc152244af753f735de768cd75f"),
            ("data_batch_2", "train2", 31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
            ("data_batch_3", "train3", 31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
            ("data_batch_4", "train4", 31_035_696, "634d18415352ddfa80567beed471001a"),
            ("data_batch_5", "train5", 31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
            ("test_batch", "test", 31_035_526, "40351d587109b95175f43aff81a1287e"),
        )
    },
    images_per_batch=10_000,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    side=32,
)


def write_batch_archive(
    dataset: BatchArchive,
    destination: Path,
    *,
    archive: Path | None = None,
    downloads: Path | None = None,
    pause: float = 1.0,
) -> Path:
    """Write an archive of pickled batches as class folders, one split for each batch.

    Args:
        dataset: The archive's description.
        destination: The folder to make.
        archive: The archive, if it was downloaded before.
        downloads: The folder that it is downloaded to. By default it is in the user's cache folder.
        pause: The seconds before a broken download is tried again.

    Raises:
        DataError: The destination is in use, or the archive is not what it should be.
        OutsideError: The network or the disk failed.
    """
    with _complete_folder(destination) as folder:
        path = archive or _download_archive(dataset, downloads, pause)
        with progress.bar(dataset.n_images, f"writing {dataset.name}", "images") as bar:
            for name, content in iter_members(path, dataset.batches, max_bytes=dataset.max_bytes):
                _write_batch(dataset, dataset.batches[name], content, folder, bar.advance)
    progress.line(f"{dataset.n_images:,} images, {len(dataset.classes)} classes: {destination}")
    return destination


def _download_archive(dataset: BatchArchive, downloads: Path | None, pause: float) -> Path:
    """Return the archive in the downloads folder. It is downloaded if it is not there or is incomplete."""
    from foveal.data.download import download, has_digest

    if downloads is None:
        from platformdirs import user_cache_path

        downloads = user_cache_path("foveal") / "downloads"
    path = downloads / dataset.url.rpartition("/")[2]
    with outside_faults(downloads):
        downloads.mkdir(parents=True, exist_ok=True)
    if not has_digest(path, dataset.md5):
        progress.line(f"downloading {dataset.url} to {path}")
        advice = "get the archive another way and pass it with --archive FILE"
        download(dataset.url, path, md5=dataset.md5, max_bytes=dataset.max_bytes, advice=advice, pause=pause)
    return path


_FILE_NAME = re.compile(rb"U.([a-z0-9_]{1,80}\.png)", re.DOTALL)
"""A file name in a batch: the mark of a string, its length in one byte, and the name."""


def read_batch(dataset: BatchArchive, batch: Batch, content: bytes) -> tuple[list[int], list[str], Pixels]:
    """Return the labels, the file names and the images of a batch.

    The batch is a pickle, but nothing in it is interpreted: its digest is known, so its parts have known
    places. The file names have a form that makes them safe as paths.

    Returns:
        The labels (N,), the file names (N,), and the images, uint8 (N, S, S, 3).
    """
    values = np.frombuffer(content, dtype=np.uint8)
    index = np.arange(dataset.images_per_batch)
    # A label is the mark of a number and the number. Two bytes end every thousand labels.
    labels = values[batch.labels_offset + 2 * (index + index // 1000) + 1]
    pixels_end = batch.pixels_offset + dataset.images_per_batch * 3 * dataset.side**2
    planes = values[batch.pixels_offset : pixels_end].reshape(-1, 3, dataset.side, dataset.side)
    names = [name.decode("ascii") for name in _FILE_NAME.findall(content, pixels_end)]
    return labels.tolist(), names, planes.transpose(0, 2, 3, 1)


def _write_batch(
    dataset: BatchArchive, batch: Batch, content: bytes, folder: Path, advance: Callable[[int], None]
) -> None:
    """Write the images of one batch as PNG files below `folder`."""
    from foveal.data.decode import encode_png

    class_folders = [
        folder / batch.split / f"{label:03d}_{name}" for label, name in enumerate(dataset.classes)
    ]
    with outside_faults(folder):
        for class_folder in class_folders:
            class_folder.mkdir(parents=True)
    for label, name, image in zip(*read_batch(dataset, batch, content), strict=True):
        png = encode_png(np.ascontiguousarray(image))
        with outside_faults(folder), (class_folders[label] / name).open("xb") as file:
            file.write(png)
        advance(1)


# ---- digits


def write_digits(destination: Path) -> Path:
    """Write scikit-learn's 1,797 scanned digits (8 × 8, grey) as class folders.

    Every fifth image of each class, in the original order, goes to `test`: four to one in every class.
    The 17 levels of grey are spread over 0 … 255. A file's number is the image's place in the original.

    Raises:
        DataError: The destination is in use.
        MissingExtraError: Scikit-learn is missing.
        OutsideError: The disk failed.
    """
    from foveal.data.decode import encode_png

    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise MissingExtraError("scikit-learn", "train") from None

    with _complete_folder(destination) as folder:
        original = load_digits()
        images = np.rint(original.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
        counts = [0] * 10
        for index, (label, image) in enumerate(zip(original.target.tolist(), images, strict=True)):
            split = "test" if counts[label] % 5 == 4 else "train"
            counts[label] += 1
            file = folder / split / str(label) / f"digit-{index:04d}.png"
            with outside_faults(folder):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode_png(image))
    progress.line(f"{len(images):,} images, 10 classes: {destination}")
    return destination


# ---- a folder that is complete or not there


@contextmanager
def _complete_folder(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder to fill. It gets the destination's name if the block ends without an error."""
    shown = progress.printable(str(destination))
    try:
        in_use = destination.is_symlink() or (
            destination.exists() and (not destination.is_dir() or any(destination.iterdir()))
        )
        if in_use:
            raise DataError(
                f"{shown} is there already and is not an empty folder; name another, or remove it first"
            )
        if destination.exists() and (destination.samefile(Path.cwd()) or destination.is_mount()):
            raise DataError(
                f"{shown} cannot be made anew; name a folder inside it, such as {destination / 'data'}"
            )
        destination.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(destination.parent)
        hidden = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    except OSError as error:
        raise DataError(f"cannot write {shown}: {error.strerror}; name another folder") from error
    try:
        with outside_faults(destination):
            sign_unfinished(hidden, destination.name)
        yield hidden
        with outside_faults(destination):
            hidden.chmod(0o755)  # mkdtemp makes it private
            if destination.exists():
                destination.rmdir()  # it was empty; if it no longer is, this raises an error
            hidden.rename(destination)
            (destination / MAKER).unlink()
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
