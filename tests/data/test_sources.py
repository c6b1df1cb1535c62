import hashlib
import io
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import opcodes, sources
from foveal.data.archive import Member, members
from foveal.errors import DataError, MissingExtraError, OutsideError

Batch = dict[bytes, object]
SIDE, EACH = 4, 6


# ---- a dataset in CIFAR-10's form, small


def batch(number: int) -> Batch:
    pixels = np.frombuffer(random.Random(number).randbytes(EACH * 3 * SIDE**2), np.uint8)
    return {
        b"batch_label": b"a batch",
        b"labels": [0, 1, 1, 0, 1, 0],
        b"data": pixels.reshape(EACH, -1),
        b"filenames": [b"thing_s_%06d.png" % index for index in range(EACH)],
    }


class Small:
    """The dataset, its archive and what `Source` says about it; a test can spoil any of them."""

    def __init__(self, folder: Path, pickled: Callable[[object], bytes]) -> None:
        self.folder, self.pickled = folder, pickled
        self.batches = {"train1": batch(1), "test": batch(2)}
        self.meta: object = {b"label_names": [b"cat", b"dog"]}
        self.archive = folder / "small.tar.gz"

    def pack(self) -> sources.Source:
        """Write the archive, and say what is in it."""
        files = {"small/meta": self.pickled(self.meta)}
        files |= {f"small/{split}": self.pickled(values) for split, values in self.batches.items()}
        with tarfile.open(self.archive, "w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return sources.Source(
            name="small",
            url="http://127.0.0.1:9/small.tar.gz",
            md5=hashlib.md5(self.archive.read_bytes()).hexdigest(),
            limit=1 << 20,
            members={
                name: Member(size=len(content), md5=hashlib.md5(content).hexdigest())
                for name, content in files.items()
            },
            meta="small/meta",
            splits={"small/train1": "train1", "small/test": "test"},
            classes=("cat", "dog"),
            side=SIDE,
            images=2 * EACH,
        )


@pytest.fixture
def small(tmp_path: Path, pickled: Callable[[object], bytes]) -> Small:
    folder = tmp_path / "small"
    folder.mkdir()
    return Small(folder, pickled)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


WHOLE = {
    f"{split}/{place}/thing_s_{index:06d}.png"
    for split in ("train1", "test")
    for index, place in enumerate(["000_cat", "001_dog", "001_dog", "000_cat", "001_dog", "000_cat"])
}


def test_an_archive_becomes_class_folders_without_loss(small: Small, tmp_path: Path) -> None:
    made = sources.get_batches(small.pack(), tmp_path / "deep" / "data", archive=small.archive)

    assert made == tmp_path / "deep" / "data"
    assert files_in(made) == WHOLE
    assert [path.name for path in made.parent.iterdir()] == ["data"]
    for split, values in small.batches.items():
        for path in (made / split).rglob("*.png"):
            planes = values[b"data"][int(path.stem[-6:])].reshape(3, SIDE, SIDE)  # type: ignore[index]
            with Image.open(path) as image:
                assert image.mode == "RGB"
                np.testing.assert_array_equal(np.asarray(image), planes.transpose(1, 2, 0))


def test_an_array_stored_by_columns_gives_the_same_images(small: Small, tmp_path: Path) -> None:
    first = sources.get_batches(small.pack(), tmp_path / "first", archive=small.archive)
    for values in small.batches.values():
        values[b"data"] = np.asfortranarray(values[b"data"])

    second = sources.get_batches(small.pack(), tmp_path / "second", archive=small.archive)

    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in WHOLE)


def test_an_empty_folder_is_taken(small: Small, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    sources.get_batches(small.pack(), tmp_path / "data", archive=small.archive)

    assert files_in(tmp_path / "data") == WHOLE


# ---- what is refused, and that nothing is left of it


def spoil_label(values: Batch) -> None:
    values[b"labels"] = [0, 1, 1, 0, 1, 2]


def spoil_type_of_label(values: Batch) -> None:
    values[b"labels"] = [0, 1, 1, 0, 1, True]


def spoil_count(values: Batch) -> None:
    values[b"labels"] = [0, 1, 1, 0, 1]


def spoil_names(values: Batch) -> None:
    values[b"filenames"] = values[b"filenames"][:-1]  # type: ignore[index]


def spoil_shape(values: Batch) -> None:
    values[b"data"] = np.zeros((EACH, SIDE**2), np.uint8)


def spoil_data(values: Batch) -> None:
    values[b"data"] = b"\0" * EACH * 3 * SIDE**2


def spoil_key(values: Batch) -> None:
    del values[b"labels"]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_label, "a label is none of 0 … 1"),
        (spoil_type_of_label, "a label is none of 0 … 1"),
        (spoil_count, "labels, filenames and data are not of one length"),
        (spoil_names, "labels, filenames and data are not of one length"),
        (spoil_shape, "labels, filenames and data are not of one length"),
        (spoil_data, "labels, filenames or data are missing"),
        (spoil_key, "labels, filenames or data are missing"),
    ],
)
def test_a_batch_that_contradicts_itself_is_refused(
    small: Small, tmp_path: Path, spoil: Callable[[Batch], None], problem: str
) -> None:
    spoil(small.batches["test"])

    with pytest.raises(DataError, match=f"small, test: {problem}"):
        sources.get_batches(small.pack(), tmp_path / "data", archive=small.archive)

    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # train1 had been written, and is gone


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
        7,
    ],
)
def test_a_name_of_another_form_never_becomes_a_path(small: Small, tmp_path: Path, name: object) -> None:
    small.batches["test"][b"filenames"][3] = name  # type: ignore[index]

    with pytest.raises(DataError, match="a file name is not of the form"):
        sources.get_batches(small.pack(), tmp_path / "data", archive=small.archive)

    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_two_images_of_one_name_are_refused_and_not_merged(small: Small, tmp_path: Path) -> None:
    names = small.batches["test"][b"filenames"]
    names[3] = names[0]  # type: ignore[index]

    with pytest.raises(DataError, match="two images have one file name"):
        sources.get_batches(small.pack(), tmp_path / "data", archive=small.archive)


@pytest.mark.parametrize("meta", [{b"label_names": [b"dog", b"cat"]}, {}, [], {b"label_names": b"catdog"}])
def test_other_classes_are_refused(small: Small, tmp_path: Path, meta: object) -> None:
    small.meta = meta

    with pytest.raises(DataError, match="names other classes than are known"):
        sources.get_batches(small.pack(), tmp_path / "data", archive=small.archive)


def test_digests_are_checked_before_anything_is_parsed(small: Small, tmp_path: Path) -> None:
    source = small.pack()
    size = source.members["small/test"].size
    honest = small.pickled
    small.pickled = lambda value: b"?" * size if value is small.batches["test"] else honest(value)
    small.pack()

    with pytest.raises(DataError, match=r"small/test has the md5 .* and the official file has"):
        sources.get_batches(source, tmp_path / "data", archive=small.archive)


def test_a_pickle_that_would_run_something_is_refused(small: Small, tmp_path: Path) -> None:
    """Even where its digest is the right one."""
    marker = tmp_path / "ran"
    command = f"echo > {marker}".encode()
    attack = b"\x80\x02cos\nsystem\n(U" + bytes([len(command)]) + command + b"tR."
    honest = small.pickled
    small.pickled = lambda value: attack if value is small.batches["test"] else honest(value)

    with pytest.raises(DataError, match=r"'os\.system', which is not allowed"):
        sources.get_batches(small.pack(), tmp_path / "data", archive=small.archive)

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
            sources.get_batches(source, tmp_path / name, archive=small.archive)

    assert (tmp_path / "data" / "mine").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"small", "data", "file", "link", "nowhere"}


def test_a_place_that_cannot_be_written_is_said(small: Small, tmp_path: Path) -> None:
    source = small.pack()
    (tmp_path / "file").write_text("mine")

    with pytest.raises(DataError, match=r"cannot write .*data: .*; name another folder"):
        sources.get_batches(source, tmp_path / "file" / "data", archive=small.archive)


def test_the_working_folder_is_not_replaced(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(DataError, match="name a folder inside it, such as data"):
        sources.get_batches(small.pack(), Path(), archive=small.archive)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_a_fault_from_outside_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from foveal.data import sources\n"
        "from foveal.errors import OutsideError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: sources.get('digits', sys.argv[1])\n"
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

    first = sources.get_batches(source, tmp_path / "first", downloads=downloads, pause=0)
    small.archive.unlink()
    second = sources.get_batches(source, tmp_path / "second", downloads=downloads, pause=0)

    assert files_in(first) == files_in(second) == WHOLE
    assert [path.name for path in downloads.iterdir()] == ["small.tar.gz"]


def test_a_spoiled_download_is_replaced(small: Small, server: str, tmp_path: Path) -> None:
    source = replace(small.pack(), url=f"{server}/small.tar.gz")
    (tmp_path / "small.tar.gz").write_bytes(b"not it")

    sources.get_batches(source, tmp_path / "data", downloads=tmp_path, pause=0)

    assert files_in(tmp_path / "data") == WHOLE


def test_a_download_that_fails_leaves_no_folder(small: Small, server: str, tmp_path: Path) -> None:
    source = replace(small.pack(), url=f"{server}/gone.tar.gz")

    with pytest.raises(
        OutsideError, match=r"answers 404 .*; get the archive another way and pass it with --archive"
    ):
        sources.get_batches(source, tmp_path / "data", downloads=tmp_path / "downloads", pause=0)

    assert {path.name for path in tmp_path.iterdir()} == {"small", "downloads"}


def test_a_destination_in_use_is_refused_before_downloading(small: Small, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is there already"):
        sources.get_batches(small.pack(), small.folder, downloads=tmp_path / "downloads")

    assert not (tmp_path / "downloads").exists()


# ---- names


@pytest.mark.parametrize(
    ("name", "meant"), [("cifar", "cifar10"), ("CIFAR-10", "cifar10"), ("digit", "digits")]
)
def test_an_unknown_name_suggests_the_nearest(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(DataError, match=f"'{name}'; did you mean {meant}. known are: cifar10, digits"):
        sources.get(name, tmp_path / "data")


def test_an_unknown_name_far_from_all_lists_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\\\\x1bflowers'; known are: cifar10, digits"):
        sources.get("\x1bflowers", tmp_path / "data")


def test_every_name_is_known(tmp_path: Path) -> None:
    (tmp_path / "full").touch()

    for name in sources.NAMES:
        with pytest.raises(DataError, match="is there already"):
            sources.get(name, tmp_path)


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
    again = sources.get("digits", tmp_path / "data")

    assert files_in(again) == files_in(digits)


def test_digits_have_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave --archive out"):
        sources.get("digits", tmp_path / "data", archive="digits.tar")


def test_digits_without_scikit_learn_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'foveal\[train\]'"):
        sources.get("digits", tmp_path / "data")

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


def test_cifar10s_test_images_are_those_of_the_archive(cifar10: Path, cifar10_archive: Path) -> None:
    name = "cifar-10-batches-py/test_batch"
    wanted = {name: sources.CIFAR10.members[name]}
    content = dict(members(cifar10_archive, wanted, limit=sources.CIFAR10.limit))[name]
    values = opcodes.read(content, name)
    assert isinstance(values, dict)

    labels, files, pixels = (values[key] for key in (b"labels", b"filenames", b"data"))
    for index in range(0, 10_000, 7):
        with Image.open(cifar10 / "test" / CLASSES[labels[index]] / files[index].decode()) as image:
            assert image.tobytes() == pixels[index].reshape(3, 1024).T.tobytes()


def test_cifar10_in_an_archive_with_something_else_is_refused(tmp_path: Path, cifar10_archive: Path) -> None:
    changed = tmp_path / "changed.tar.gz"
    shutil.copyfile(cifar10_archive, changed)
    changed.chmod(0o600)
    with changed.open("r+b") as file:
        file.seek(20_000_000)
        file.write(b"\0" * 64)

    with pytest.raises(DataError, match="get the archive again"):
        sources.get("cifar10", tmp_path / "data", archive=changed)

    assert [path.name for path in tmp_path.iterdir()] == ["changed.tar.gz"]
