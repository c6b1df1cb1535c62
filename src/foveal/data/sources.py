"""Named datasets, written as class folders: the digits of scikit-learn and CIFAR-10.

The folders appear under their name when they are whole, and not before.
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
from numpy.typing import NDArray

from foveal import progress
from foveal.data.archive import Member, members
from foveal.errors import DataError, MissingExtraError
from foveal.files.run_folder import outside_faults

NAMES = ("cifar10", "digits")
"""What `get` knows."""


def get(
    name: str,
    destination: str | os.PathLike[str],
    *,
    archive: str | os.PathLike[str] | None = None,
    exist_ok: bool = False,
) -> Path:
    """Write a named dataset as class folders.

    Args:
        name: one of `NAMES`.
        destination: the folder to make. `cifar10` becomes `train1` … `train5` and `test`, each with
            `000_airplane` … `009_truck`; `digits` becomes `train` and `test`, each with `0` … `9`.
        archive: CIFAR-10's Python archive, where it is here already; without it, it is downloaded into
            the user's cache folder.
        exist_ok: take a folder that is there already, and is not empty, as it is: for a script or a notebook
            that runs again.

    Returns:
        The destination.

    Raises:
        DataError: the name is unknown, the destination is in use, or the archive is not what it should be.
        MissingExtraError: `digits` without scikit-learn.
        OutsideError: the network or the disk failed.
    """
    folder = Path(destination)
    if exist_ok and name in NAMES and folder.is_dir() and any(folder.iterdir()):
        return folder
    match name:
        case "cifar10":
            return get_batches(CIFAR10, folder, archive=None if archive is None else Path(archive))
        case "digits":
            if archive is not None:
                raise DataError("digits come with scikit-learn, not from an archive; leave --archive out")
            return get_digits(folder)
    import difflib

    near = difflib.get_close_matches(re.sub("[-_ ]", "", name.lower()), NAMES, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise DataError(
        f"no dataset is called {progress.printable(name)!r}; {meant}known are: {', '.join(NAMES)}"
    )


# ---- CIFAR-10


@dataclass(frozen=True, kw_only=True)
class Source:
    """An archive of pickled batches in CIFAR-10's form."""

    name: str
    url: str
    md5: str
    """Of the archive as published. One packed anew has another, and is judged by its members."""
    limit: int
    """The most bytes, packed or unpacked, that are read of it."""
    members: Mapping[str, Member]
    """By their names in the archive."""
    meta: str
    """The member that names the classes."""
    splits: Mapping[str, str]
    """The other members, and the split that each becomes."""
    classes: tuple[str, ...]
    side: int
    """Images are side × side, in colour."""
    images: int


CIFAR10 = Source(
    name="cifar10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    limit=1 << 28,  # 171 MB packed, 186 MB unpacked
    members={
        "cifar-10-batches-py/batches.meta": Member(size=158, md5="5ff9c542aee3614f3951f8cda6e48888"),
        "cifar-10-batches-py/data_batch_1": Member(size=31_035_704, md5="c99cafc152244af753f735de768cd75f"),
        "cifar-10-batches-py/data_batch_2": Member(size=31_035_320, md5="d4bba439e000b95fd0a9bffe97cbabec"),
        "cifar-10-batches-py/data_batch_3": Member(size=31_035_999, md5="54ebc095f3ab1f0389bbae665268c751"),
        "cifar-10-batches-py/data_batch_4": Member(size=31_035_696, md5="634d18415352ddfa80567beed471001a"),
        "cifar-10-batches-py/data_batch_5": Member(size=31_035_623, md5="482c414d41f54cd18b22e5b47cb7c3cb"),
        "cifar-10-batches-py/test_batch": Member(size=31_035_526, md5="40351d587109b95175f43aff81a1287e"),
    },
    meta="cifar-10-batches-py/batches.meta",
    splits={
        "cifar-10-batches-py/data_batch_1": "train1",
        "cifar-10-batches-py/data_batch_2": "train2",
        "cifar-10-batches-py/data_batch_3": "train3",
        "cifar-10-batches-py/data_batch_4": "train4",
        "cifar-10-batches-py/data_batch_5": "train5",
        "cifar-10-batches-py/test_batch": "test",
    },
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    side=32,
    images=60_000,
)


def get_batches(
    source: Source,
    destination: Path,
    *,
    archive: Path | None = None,
    downloads: Path | None = None,
    pause: float = 1.0,
) -> Path:
    """Write an archive of pickled batches as class folders, one split for each batch.

    Args:
        source: what the archive is.
        destination: the folder to make.
        archive: the archive, where it is here already.
        downloads: where it is downloaded to; the user's cache folder if None.
        pause: seconds before a broken download is tried again.

    Raises:
        DataError: the destination is in use, or the archive is not what it should be.
        OutsideError: the network or the disk failed.
    """
    with _whole_folder(destination) as made:
        path = archive or _downloaded(source, downloads, pause)
        with progress.bar(source.images, f"writing {source.name}", "images") as bar:
            for split, batch in _batches(source, path):
                _write_batch(source, split, batch, made, bar.advance)
    progress.line(f"{source.images:,} images, {len(source.classes)} classes: {destination}")
    return destination


def _downloaded(source: Source, downloads: Path | None, pause: float) -> Path:
    """Return the archive in the downloads folder, fetching it if it is not there whole."""
    from foveal.data.download import download, is_whole

    if downloads is None:
        from platformdirs import user_cache_path

        downloads = user_cache_path("foveal") / "downloads"
    path = downloads / source.url.rpartition("/")[2]
    with outside_faults(downloads):
        downloads.mkdir(parents=True, exist_ok=True)
    if not is_whole(path, source.md5):
        progress.line(f"downloading {source.url} to {path}")
        advice = "get the archive another way and pass it with --archive FILE"
        download(source.url, path, md5=source.md5, limit=source.limit, advice=advice, pause=pause)
    return path


def _batches(source: Source, archive: Path) -> Iterator[tuple[str, object]]:
    """Read the archive once, front to back, and yield each split with its batch."""
    from foveal.data import opcodes

    for name, content in members(archive, source.members, limit=source.limit):
        value = opcodes.read(content, f"{progress.printable(str(archive))}: {name}")
        if name != source.meta:
            yield source.splits[name], value
        elif not isinstance(value, dict) or value.get(b"label_names") != _encoded(source.classes):
            raise DataError(
                f"{source.name}: {name} names other classes than are known; get the archive again"
            )


def _encoded(classes: tuple[str, ...]) -> list[bytes]:
    return [name.encode("ascii") for name in classes]


_FILE_NAME = re.compile(rb"[a-z0-9_]{1,80}\.png")


def _write_batch(
    source: Source, split: str, batch: object, folder: Path, advance: Callable[[int], None]
) -> None:
    """Write the images of one batch below `folder`, checking all that the batch says about them."""
    from foveal.data.decode import encode_png

    labels, names, pixels = _fields(source, split, batch)
    images = pixels.reshape(-1, 3, source.side, source.side).transpose(0, 2, 3, 1)  # (N, S, S, 3)
    places = [folder / split / f"{number:03d}_{label}" for number, label in enumerate(source.classes)]
    with outside_faults(folder):
        for place in places:
            place.mkdir(parents=True)
    for label, name, image in zip(labels, names, images, strict=True):
        content = encode_png(np.ascontiguousarray(image))
        with outside_faults(folder), (places[label] / name.decode("ascii")).open("xb") as file:
            file.write(content)
        advance(1)


def _fields(source: Source, split: str, batch: object) -> tuple[list[int], list[bytes], NDArray[np.uint8]]:
    """Take labels, file names and pixels (N, 3·S·S) out of a batch."""
    values = batch if isinstance(batch, dict) else {}
    labels, names, pixels = (values.get(key) for key in (b"labels", b"filenames", b"data"))
    if not isinstance(labels, list) or not isinstance(names, list) or not isinstance(pixels, np.ndarray):
        raise DataError(f"{source.name}, {split}: labels, filenames or data are missing")
    if pixels.shape != (len(labels), 3 * source.side**2) or len(names) != len(labels):
        raise DataError(f"{source.name}, {split}: labels, filenames and data are not of one length")
    if not all(type(label) is int and 0 <= label < len(source.classes) for label in labels):
        raise DataError(f"{source.name}, {split}: a label is none of 0 … {len(source.classes) - 1}")
    # A name becomes a path only in this form; and none would take another's place.
    if not all(isinstance(name, bytes) and _FILE_NAME.fullmatch(name) for name in names):
        raise DataError(f"{source.name}, {split}: a file name is not of the form name_s_000001.png")
    if len(set(names)) != len(names):
        raise DataError(f"{source.name}, {split}: two images have one file name")
    return labels, names, pixels


# ---- digits


def get_digits(destination: Path) -> Path:
    """Write scikit-learn's 1,797 scanned digits (8 × 8, grey) as class folders.

    Every fifth image of each class, in the original order, goes to `test`: four to one in every class.
    The 17 levels of grey are spread over 0 … 255. A file's number is the image's place in the original.

    Raises:
        DataError: the destination is in use.
        MissingExtraError: scikit-learn is missing.
        OutsideError: the disk failed.
    """
    from foveal.data.decode import encode_png

    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise MissingExtraError("scikit-learn", "train") from None

    with _whole_folder(destination) as made:
        original = load_digits()
        images = np.rint(original.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
        seen = [0] * 10
        for index, (label, image) in enumerate(zip(original.target.tolist(), images, strict=True)):
            split = "test" if seen[label] % 5 == 4 else "train"
            seen[label] += 1
            file = made / split / str(label) / f"digit-{index:04d}.png"
            with outside_faults(made):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode_png(image))
    progress.line(f"{len(images):,} images, 10 classes: {destination}")
    return destination


# ---- a folder that is whole or not there


@contextmanager
def _whole_folder(destination: Path) -> Iterator[Path]:
    """Give a hidden folder to fill; when the block has ended well, it takes the destination's name."""
    shown = progress.printable(str(destination))
    try:
        taken = destination.is_symlink() or (
            destination.exists() and (not destination.is_dir() or any(destination.iterdir()))
        )
        if taken:
            raise DataError(
                f"{shown} is there already and is not an empty folder; name another, or remove it first"
            )
        if destination.exists() and (destination.samefile(Path.cwd()) or destination.is_mount()):
            raise DataError(
                f"{shown} cannot be made anew; name a folder inside it, such as {destination / 'data'}"
            )
        destination.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    except OSError as error:
        raise DataError(f"cannot write {shown}: {error.strerror}; name another folder") from error
    try:
        yield made
        with outside_faults(destination):
            made.chmod(0o755)  # mkdtemp makes it private
            if destination.exists():
                destination.rmdir()  # it was empty; if it is no longer, this says so
            made.rename(destination)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
