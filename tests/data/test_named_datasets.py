import hashlib
import io
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import named_datasets
from foveal.data.archive import iter_members
from foveal.errors import DataError, MissingExtraError, OutsideError

SIDE, EACH = 4, 6
LABELS = [0, 1, 1, 0, 1, 0]


# ---- a dataset in CIFAR-10's form, small


class Small:
    """The dataset, its archive and its description; a test can spoil any of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "small.tar.gz"
        self.pixels = {
            split: np.frombuffer(random.Random(split).randbytes(EACH * 3 * SIDE**2), np.uint8)
            for split in ("train1", "test")
        }
        self.names = [b"thing_s_%06d.png" % index for index in range(EACH)]
        self.beginning = b"\x80\x02}q\x01(U\x06labelsq\x04]q\x05("

    def content(self, split: str) -> bytes:
        labels = b"".join(b"K" + bytes([label]) for label in LABELS)
        names = b"".join(b"U" + bytes([len(name)]) + name + b"q\x0e" for name in self.names)
        return self.beginning + labels + b"eU\x04data" + self.pixels[split].tobytes() + b"](" + names + b"eu."

    def pack(self) -> named_datasets.BatchArchive:
        """Write the archive, and describe it."""
        files = {f"small/{split}": self.content(split) for split in self.pixels}
        with tarfile.open(self.archive, "w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return named_datasets.BatchArchive(
            name="small",
            url="http://127.0.0.1:9/small.tar.gz",
            md5=hashlib.md5(self.archive.read_bytes()).hexdigest(),
            max_bytes=1 << 20,
            batches={
                name: named_datasets.Batch(
                    size=len(content),
                    md5=hashlib.md5(content).hexdigest(),
                    split=name.removeprefix("small/"),
                    labels_offset=len(self.beginning),
                    pixels_offset=len(self.beginning) + 2 * EACH + 7,
                )
                for name, content in files.items()
            },
            images_per_batch=EACH,
            classes=("cat", "dog"),
            side=SIDE,
        )


@pytest.fixture
def small(tmp_path: Path) -> Small:
    folder = tmp_path / "small"
    folder.mkdir()
    return Small(folder)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


WHOLE = {
    f"{split}/{place}/thing_s_{index:06d}.png"
    for split in ("train1", "test")
    for index, place in enumerate(["000_cat", "001_dog", "001_dog", "000_cat", "001_dog", "000_cat"])
}


def test_an_archive_becomes_class_folders_without_loss(small: Small, tmp_path: Path) -> None:
    made = named_datasets.write_batch_archive(small.pack(), tmp_path / "deep" / "data", archive=small.archive)

    assert made == tmp_path / "deep" / "data"
    assert files_in(made) == WHOLE
    assert [path.name for path in made.parent.iterdir()] == ["data"]
    for split, pixels in small.pixels.items():
        for path in (made / split).rglob("*.png"):
            planes = pixels.reshape(EACH, 3, SIDE, SIDE)[int(path.stem[-6:])]
            with Image.open(path) as image:
                assert image.mode == "RGB"
                np.testing.assert_array_equal(np.asarray(image), planes.transpose(1, 2, 0))


def test_an_empty_folder_is_taken(small: Small, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    named_datasets.write_batch_archive(small.pack(), tmp_path / "data", archive=small.archive)

    assert files_in(tmp_path / "data") == WHOLE


# ---- what is refused, and that nothing is left of it


@pytest.mark.parametrize(
    "name",
    [
        b"../../escape.png",
        b"/etc/thing.png",
        b"a\\b.png",
        b"a/b.png",
        b".png",
        b"..png",
        b"thing.png\n",
        b"thing.png\0",
        b"thing.jpg",
        b"CON.png",
        "é.png".encode(),
        b"a" * 81 + b".png",
    ],
)
def test_a_name_of_another_form_never_becomes_a_path(small: Small, name: bytes) -> None:
    """Even where the batch has the right digest."""
    small.names[3] = name
    dataset = small.pack()
    batch = dataset.batches["small/test"]

    _, names, _ = named_datasets.read_batch(dataset, batch, small.content("test"))

    assert {each for each in names if not re.fullmatch(r"[a-z0-9_]{1,80}\.png", each)} == set()
    assert set(names) >= {f"thing_s_{index:06d}.png" for index in range(EACH) if index != 3}


def test_digests_are_checked_before_anything_is_written(small: Small, tmp_path: Path) -> None:
    dataset = small.pack()
    small.pixels["test"] = np.zeros(EACH * 3 * SIDE**2, np.uint8)
    small.pack()

    with pytest.raises(DataError, match=r"small/test has the md5 .* and the official file has"):
        named_datasets.write_batch_archive(dataset, tmp_path / "data", archive=small.archive)

    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # train1 had been written, and is gone


def test_nothing_in_a_pickle_is_run(small: Small, tmp_path: Path) -> None:
    """Even where its digest is the right one."""
    marker = tmp_path / "ran"
    command = f"echo > {marker}".encode()
    small.beginning = b"\x80\x02cos\nsystem\n(U" + bytes([len(command)]) + command + b"tR."

    named_datasets.write_batch_archive(small.pack(), tmp_path / "data", archive=small.archive)

    assert not marker.exists()


def test_a_destination_in_use_is_refused_untouched(small: Small, tmp_path: Path) -> None:
    source = small.pack()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")

    for name in ("data", "file", "link", "nowhere"):
        with pytest.raises(DataError, match=f"{name} is there already and is not an empty folder"):
            named_datasets.write_batch_archive(source, tmp_path / name, archive=small.archive)

    assert (tmp_path / "data" / "mine").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"small", "data", "file", "link", "nowhere"}


def test_a_place_that_cannot_be_written_is_said(small: Small, tmp_path: Path) -> None:
    source = small.pack()
    (tmp_path / "file").write_text("mine")

    with pytest.raises(DataError, match=r"cannot write .*data: .*; name another folder"):
        named_datasets.write_batch_archive(source, tmp_path / "file" / "data", archive=small.archive)


def test_the_working_folder_is_not_replaced(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(DataError, match="name a folder inside it, such as data"):
        named_datasets.write_batch_archive(small.pack(), Path(), archive=small.archive)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_a_fault_from_outside_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from foveal.data import named_datasets\n"
        "from foveal.errors import OutsideError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: named_datasets.get('digits', sys.argv[1])\n"
        "except OutsideError as error: sys.exit(str(error))"
    )
    ended = subprocess.run(
        [sys.executable, "-B", "-c", program, tmp_path / "data"], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("cannot write ")
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# ---- downloading


@pytest.fixture
def server(small: Small, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder of the small archive, served on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(small.folder))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_an_archive_is_downloaded_once(small: Small, server: str, tmp_path: Path) -> None:
    source = replace(small.pack(), url=f"{server}/small.tar.gz")
    downloads = tmp_path / "cache" / "downloads"

    first = named_datasets.write_batch_archive(source, tmp_path / "first", downloads=downloads, pause=0)
    small.archive.unlink()
    second = named_datasets.write_batch_archive(source, tmp_path / "second", downloads=downloads, pause=0)

    assert files_in(first) == files_in(second) == WHOLE
    assert [path.name for path in downloads.iterdir()] == ["small.tar.gz"]


def test_a_spoiled_download_is_replaced(small: Small, server: str, tmp_path: Path) -> None:
    source = replace(small.pack(), url=f"{server}/small.tar.gz")
    (tmp_path / "small.tar.gz").write_bytes(b"not it")

    named_datasets.write_batch_archive(source, tmp_path / "data", downloads=tmp_path, pause=0)

    assert files_in(tmp_path / "data") == WHOLE


def test_a_download_that_fails_leaves_no_folder(small: Small, server: str, tmp_path: Path) -> None:
    source = replace(small.pack(), url=f"{server}/gone.tar.gz")

    with pytest.raises(
        OutsideError, match=r"answers 404 .*; get the archive another way and pass it with --archive"
    ):
        named_datasets.write_batch_archive(
            source, tmp_path / "data", downloads=tmp_path / "downloads", pause=0
        )

    assert {path.name for path in tmp_path.iterdir()} == {"small", "downloads"}


def test_a_destination_in_use_is_refused_before_downloading(small: Small, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is there already"):
        named_datasets.write_batch_archive(small.pack(), small.folder, downloads=tmp_path / "downloads")

    assert not (tmp_path / "downloads").exists()


# ---- names


@pytest.mark.parametrize(
    ("name", "meant"), [("cifar", "cifar10"), ("CIFAR-10", "cifar10"), ("digit", "digits")]
)
def test_an_unknown_name_suggests_the_nearest(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(DataError, match=f"'{name}'; did you mean {meant}. known are: cifar10, digits"):
        named_datasets.get(name, tmp_path / "data")


def test_an_unknown_name_far_from_all_lists_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\\\\x1bflowers'; known are: cifar10, digits"):
        named_datasets.get("\x1bflowers", tmp_path / "data")


def test_every_name_is_known(tmp_path: Path) -> None:
    (tmp_path / "full").touch()

    for name in named_datasets.DATASET_NAMES:
        with pytest.raises(DataError, match="is there already"):
            named_datasets.get(name, tmp_path)


# ---- digits


def test_digits_are_the_original_four_to_one(digits: Path) -> None:
    from sklearn.datasets import load_digits

    original = load_digits()
    found = files_in(digits)

    assert len(found) == len(original.images) == 1797
    for name in found:
        split, label, file = name.split("/")
        index = int(file.removeprefix("digit-").removesuffix(".png"))
        assert split in ("train", "test")
        assert int(label) == original.target[index]
        with Image.open(digits / name) as image:
            assert image.mode == "L"
            pixels = np.asarray(image)
        np.testing.assert_array_equal(np.rint(pixels * (16 / 255)), original.images[index])
        assert pixels.max() == 255 or original.images[index].max() < 16
    for label, count in enumerate(np.bincount(original.target)):
        assert len(list((digits / "test" / str(label)).iterdir())) == count // 5


def test_digits_are_the_same_every_time(digits: Path, tmp_path: Path) -> None:
    again = named_datasets.get("digits", tmp_path / "data")

    assert files_in(again) == files_in(digits)


def test_digits_have_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave --archive out"):
        named_datasets.get("digits", tmp_path / "data", archive="digits.tar")


def test_digits_without_scikit_learn_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'foveal\[train\]'"):
        named_datasets.get("digits", tmp_path / "data")

    assert list(tmp_path.iterdir()) == []


# ---- CIFAR-10 itself

CLASSES = (
    *("000_airplane", "001_automobile", "002_bird", "003_cat", "004_deer"),
    *("005_dog", "006_frog", "007_horse", "008_ship", "009_truck"),
)


def test_cifar10_has_the_notebooks_layout(cifar10: Path) -> None:
    splits = sorted(path.name for path in cifar10.iterdir())
    counts = {
        (split, place.name): len(list(place.iterdir()))
        for split in splits
        for place in (cifar10 / split).iterdir()
    }

    assert splits == ["test", "train1", "train2", "train3", "train4", "train5"]
    assert {place for _, place in counts} == set(CLASSES)
    assert [sum(n for (split, _), n in counts.items() if split == name) for name in splits] == [10_000] * 6
    assert all(counts["test", name] == 1000 for name in CLASSES)
    assert all(sum(counts[f"train{k}", name] for k in range(1, 6)) == 5000 for name in CLASSES)


def test_cifar10s_first_image_is_where_it_belongs(cifar10: Path) -> None:
    with Image.open(cifar10 / "train1" / "006_frog" / "leptodactylus_pentadactylus_s_000004.png") as image:
        assert image.size == (32, 32)
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (59, 62, 63)
        assert image.getpixel((1, 0)) == (43, 46, 45)


BATCH_DIGESTS = {
    "train1": "eb63fbf0b49b2632fee183fab53d5b7006c953ceea95697a780e87be3f102d27",
    "train2": "5b7e575d68bdde19f6c65e132b07bfdee27fa35cfa6f9559127e70652550b877",
    "train3": "e380f4f572d2a97d8a745c1e07dce6932bf3a890ca7947837716726cdb68585d",
    "train4": "85b2a90bc7879340e7897bb62e448d6cf51e5c6318a597c8e75080b7bf2849ad",
    "train5": "edbd994b3882ea9608fd81772a0e28dbf11ff6edb67d4d9779847eaaf44e5fe2",
    "test": "88a99d1da7ec771208c015f0df4c64c34cf85c309baecb8428ea5d5c82f1e327",
}
"""SHA-256 of the labels, the names and the planes, as an unpickler reads them."""


def test_cifar10s_batches_are_read_as_an_unpickler_reads_them(cifar10_archive: Path) -> None:
    dataset = named_datasets.CIFAR10
    digests = {}
    for name, content in iter_members(cifar10_archive, dataset.batches, max_bytes=dataset.max_bytes):
        labels, names, images = named_datasets.read_batch(dataset, dataset.batches[name], content)
        assert images.shape == (10_000, 32, 32, 3)
        planes = images.transpose(0, 3, 1, 2).tobytes()
        digest = hashlib.sha256(bytes(labels) + "\n".join(names).encode() + planes)
        digests[dataset.batches[name].split] = digest.hexdigest()
    assert digests == BATCH_DIGESTS


def test_cifar10s_test_images_are_those_of_the_archive(cifar10: Path, cifar10_archive: Path) -> None:
    dataset, name = named_datasets.CIFAR10, "cifar-10-batches-py/test_batch"
    batch = dataset.batches[name]
    content = dict(iter_members(cifar10_archive, {name: batch}, max_bytes=dataset.max_bytes))[name]
    labels, files, images = named_datasets.read_batch(dataset, batch, content)
    for index in range(0, 10_000, 7):
        with Image.open(cifar10 / "test" / CLASSES[labels[index]] / files[index]) as image:
            assert image.tobytes() == images[index].tobytes()


def test_cifar10_in_an_archive_with_something_else_is_refused(tmp_path: Path, cifar10_archive: Path) -> None:
    changed = tmp_path / "changed.tar.gz"
    shutil.copyfile(cifar10_archive, changed)
    changed.chmod(0o600)
    with changed.open("r+b") as file:
        file.seek(20_000_000)
        file.write(b"\0" * 64)

    with pytest.raises(DataError, match="get the archive again"):
        named_datasets.get("cifar10", tmp_path / "data", archive=changed)

    assert [path.name for path in tmp_path.iterdir()] == ["changed.tar.gz"]
