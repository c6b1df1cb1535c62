import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from foveal.data import checksums, decode_worker, pack_build, pack_folders
from foveal.data import pack as module
from foveal.data.decode import Decoding, decode, encode_png
from foveal.data.decode_worker import Outcome
from foveal.data.pack import Pack, open_pack, require_images
from foveal.data.pack_index import read_index, write_index
from foveal.data.scan import scan
from foveal.errors import DataError, OutsideError
from foveal.progress import Bar
from foveal.recipe.recipe import Image

Pixels = NDArray[np.uint8]
SMALL = Image(size=8)
AUTO = Image(size=8, channels="auto")


def image(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape or (8, 8, 3), dtype=np.uint8)


def data_set(root: Path, n: int = 3) -> Path:
    """Lay out two classes of `n` images each: in the order of paths, those of seeds 0, 1, 2, …"""
    for row in range(2 * n):
        file = root / "cd"[row // n] / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(image(row)))
    return root


def open_(root: Path, cache: Path, settings: Image = SMALL) -> Pack:
    return open_pack(scan(root), settings, cache)


def packs(cache: Path) -> list[str]:
    return sorted(each.name for each in (cache / "packs").iterdir())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decode in this process, which is faster, and list the files that were."""
    files: list[str] = []

    def decode_files(
        root: Path,
        jobs: Sequence[tuple[int, str]],
        *,
        decoding: Decoding,
        pixels: Path,
        n_images: int,
        bar: Bar,
    ) -> dict[int, Outcome]:
        files.extend(path for _, path in jobs)
        shape = (n_images, decoding.size, decoding.size, decoding.channels)
        mapped = np.memmap(pixels, dtype=np.uint8, mode="r+", shape=shape)
        return {row: decode_worker.decode_file(str(root), path, decoding, mapped, row) for row, path in jobs}

    monkeypatch.setattr(pack_build, "decode_files", decode_files)
    return files


# ---- made once


def test_a_pack_holds_every_image(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data")
    (root / "c/text.png").write_text("no image")
    made = open_(root, tmp_path / "cache")

    assert made.paths == ("c/0.png", "c/1.png", "c/2.png", "c/text.png", "d/3.png", "d/4.png", "d/5.png")
    assert made.decoded_indices == [0, 1, 2, 4, 5, 6]
    assert np.array_equal(made.pixels[made.decoded_indices], [image(seed) for seed in range(6)])
    assert made.errors == {3: "no image in a known format: JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF, HEIF"}
    assert len(set(made.digests)) == 7
    assert (made.clipped, made.retry) == (0, False)
    assert made.decoding == Decoding(size=8, channels=3, fit="stretch", background="black")
    with pytest.raises(ValueError, match="read-only"):
        made.pixels[0] = 0


def test_the_second_time_nothing_is_decoded(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    (root / "c/text.png").write_text("no image")
    first = open_(root, tmp_path / "cache")
    assert len(decoded) == 7

    second = open_(root, tmp_path / "cache")
    assert len(decoded) == 7
    assert np.array_equal(first.pixels, second.pixels)
    assert (first.paths, first.digests, first.errors) == (second.paths, second.digests, second.errors)
    assert first.fingerprint == second.fingerprint


def test_the_second_time_only_a_sample_of_the_files_is_read(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = data_set(tmp_path / "data", 10)
    open_(root, tmp_path / "cache")
    read: list[str] = []
    real = checksums.compute_file_digest

    def compute(root: str, path: str) -> str:
        read.append(path)
        return real(root, path)

    monkeypatch.setattr(checksums, "compute_file_digest", compute)
    monkeypatch.setattr(module, "MAX_SAMPLED_FILES", 5)
    open_(root, tmp_path / "cache")
    assert len(set(read)) == 5
    open_(root, tmp_path / "cache")
    assert len(set(read)) > 5, "the sample should be another one"


def change_content(root: Path) -> None:
    (root / "c/0.png").write_bytes(encode_png(image(99)))


def change_time(root: Path) -> None:
    os.utime(root / "c/0.png", (1, 1))


def change_size(root: Path) -> None:
    status = (root / "c/0.png").stat()
    with (root / "c/0.png").open("ab") as file:
        file.write(b"!")
    os.utime(root / "c/0.png", ns=(status.st_atime_ns, status.st_mtime_ns))


def add(root: Path) -> None:
    (root / "c/6.png").write_bytes(encode_png(image(6)))


def remove(root: Path) -> None:
    (root / "c/0.png").unlink()


def rename(root: Path) -> None:
    (root / "c/0.png").rename(root / "c/00.png")


@pytest.mark.parametrize("change", [change_content, change_size, change_time, add, remove, rename])
def test_a_change_gives_another_pack(
    tmp_path: Path, decoded: list[str], change: Callable[[Path], None]
) -> None:
    root = data_set(tmp_path / "data")
    first = open_(root, tmp_path / "cache")
    n = len(decoded)

    change(root)
    second = open_(root, tmp_path / "cache")
    assert len(decoded) > n
    assert (second.fingerprint == first.fingerprint) == (change is change_time)
    assert len(packs(tmp_path / "cache")) == 2


@pytest.mark.parametrize(
    "other",
    [
        Image(size=9),
        Image(size=8, fit="crop"),
        Image(size=8, channels="grey"),
        Image(size=8, background="white"),
    ],
)
def test_other_settings_give_another_pack(tmp_path: Path, decoded: list[str], other: Image) -> None:
    root = data_set(tmp_path / "data")
    first = open_(root, tmp_path / "cache")
    second = open_(root, tmp_path / "cache", other)

    assert len(packs(tmp_path / "cache")) == 2
    assert second.decoding != first.decoding
    assert second.fingerprint == first.fingerprint


def test_the_fingerprint_does_not_depend_on_the_place(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    copy = shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    (root / "c/stray").write_text("rejected, so no part of the data")

    assert open_(root, tmp_path / "a").fingerprint == open_(copy, tmp_path / "b").fingerprint


def test_the_fingerprint_depends_on_paths_and_contents(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    seen = {open_(root, tmp_path / "cache").fingerprint}
    for step in (change_content, rename, add):
        step(root)
        seen.add(open_(root, tmp_path / "cache").fingerprint)
    assert len(seen) == 4


def test_data_sets_that_differ_in_content_alone_are_kept_apart(tmp_path: Path, decoded: list[str]) -> None:
    """Equal names, sizes and times: so archives of uncompressed images come out."""
    for place, seed in (("one", 0), ("two", 50)):
        for row in range(4):
            file = tmp_path / place / "cd"[row // 2] / f"{row}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(image(seed + row)).save(file)
            os.utime(file, (1, 1))

    one = open_(tmp_path / "one", tmp_path / "cache")
    two = open_(tmp_path / "two", tmp_path / "cache")
    assert np.array_equal(one.pixels, [image(seed) for seed in range(4)])
    assert np.array_equal(two.pixels, [image(seed) for seed in range(50, 54)])


# ---- channels and ranges


def test_all_grey_gives_one_channel(tmp_path: Path, decoded: list[str]) -> None:
    root = tmp_path / "data"
    greys = [image(row, 8, 8) for row in range(4)]
    for row, grey in enumerate(greys):
        (root / "cd"[row // 2]).mkdir(parents=True, exist_ok=True)
        content = grey if row % 2 else grey[:, :, None].repeat(3, axis=2)  # grey stored as colour is grey
        (root / "cd"[row // 2] / f"{row}.png").write_bytes(encode_png(content))
    (root / "d/text").write_text("no image")

    made = open_(root, tmp_path / "cache", AUTO)
    assert made.decoding.channels == 1
    assert np.array_equal(made.pixels[:4, :, :, 0], greys)
    assert np.array_equal(made.pixels, open_(root, tmp_path / "cache", Image(size=8, channels="grey")).pixels)
    assert open_(root, tmp_path / "cache").decoding.channels == 3


def test_one_colour_image_keeps_three_channels(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    for file in sorted(root.glob("*/*"))[:-1]:
        file.write_bytes(encode_png(image(1, 8, 8)))
    assert open_(root, tmp_path / "cache", AUTO).pixels.shape == (6, 8, 8, 3)


@pytest.mark.parametrize("channels", ["auto", "rgb"])
def test_deep_greyscale_gets_one_range_over_the_set(
    tmp_path: Path, decoded: list[str], channels: str
) -> None:
    root = tmp_path / "data"
    values = {"c/0": (1000, 1500), "c/1": (1200, 3000), "d/2": (2000, 2500), "d/3": (1100, 1101)}
    for name, (low, high) in values.items():
        deep = np.linspace(low, high, 64).round().astype(np.uint16).reshape(8, 8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(deep).save(root / f"{name}.png")
    Pillow.fromarray(image(9, 8, 8)).save(root / "d/8-bit.png")

    made = open_(root, tmp_path / "cache", Image(size=8, channels=channels))  # type: ignore[arg-type]
    assert made.decoding.deep_range == (1000.0, 3000.0)
    assert made.decoding.channels == (1 if channels == "auto" else 3)
    for row, (low, high) in enumerate(values.values()):
        found = made.pixels[row].min(), made.pixels[row].max()
        assert found == tuple(round((value - 1000) * 255 / 2000) for value in (low, high))
    assert np.array_equal(made.pixels[4, :, :, 0], image(9, 8, 8))
    assert (made.clipped, made.errors) == (0, {})
    assert sorted(decoded) == sorted([*[f"{name}.png" for name in values] * 2, "d/8-bit.png"])
    assert open_(root, tmp_path / "cache", Image(size=8, channels=channels)).decoding == made.decoding  # type: ignore[arg-type]


# ---- faults


def test_what_could_not_be_read_is_tried_again(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing is the same before and after `chmod`, so the pack would be found again."""
    root = data_set(tmp_path / "data")
    with monkeypatch.context() as locked:

        def refuse(path: str, *args: object, **options: object) -> object:
            if path.endswith("0.png"):
                raise PermissionError(errno.EACCES, "Permission denied")
            return io.open(path, *args, **options)  # type: ignore[call-overload] # noqa: UP020

        locked.setattr(decode_worker, "open", refuse, raising=False)
        first = open_(root, tmp_path / "cache")
        assert first.errors == {0: "cannot be read: Permission denied"}
        assert first.retry
        assert open_(root, tmp_path / "cache").errors == first.errors

    second = open_(root, tmp_path / "cache")
    assert second.errors == {}
    assert np.array_equal(second.pixels[0], image(0))
    n = len(decoded)
    open_(root, tmp_path / "cache")
    assert len(decoded) == n
    assert len(packs(tmp_path / "cache")) == 1


@pytest.mark.parametrize(
    "damage",
    ["no index", "half an index", "other index", "one digest too few", "no pixels", "half the pixels"],
)
def test_a_damaged_pack_is_made_anew(tmp_path: Path, decoded: list[str], damage: str) -> None:
    root = data_set(tmp_path / "data")
    first = open_(root, tmp_path / "cache")
    fingerprint, folder = first.fingerprint, tmp_path / "cache" / "packs" / packs(tmp_path / "cache")[0]
    del first
    index = folder / "index.json"
    match damage:
        case "no index":
            index.unlink()
        case "half an index":
            index.write_bytes(index.read_bytes()[:50])
        case "other index":
            index.write_text(json.dumps({"paths": []}))
        case "one digest too few":
            whole, _ = read_index(folder)
            write_index(folder, replace(whole, digests=whole.digests[1:]))
        case "no pixels":
            (folder / "pixels").unlink()
        case "half the pixels":
            (folder / "pixels").write_bytes((folder / "pixels").read_bytes()[:500])

    again = open_(root, tmp_path / "cache")
    assert len(decoded) == 12
    assert again.fingerprint == fingerprint
    assert np.array_equal(again.pixels, [image(seed) for seed in range(6)])
    assert packs(tmp_path / "cache") == [folder.name]


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_links_that_lead_nowhere_are_not_tried_again(tmp_path: Path, decoded: list[str]) -> None:
    """A target that comes has a size and a time of its own, so it is seen in the listing."""
    root = data_set(tmp_path / "data")
    (root / "c/broken.png").symlink_to(tmp_path / "later.png")
    assert len(open_(root, tmp_path / "cache").errors) == 1
    n = len(decoded)
    assert not open_(root, tmp_path / "cache").retry
    assert len(decoded) == n

    (tmp_path / "later.png").write_bytes(encode_png(image(0)))
    assert open_(root, tmp_path / "cache").errors == {}


def test_a_pack_has_no_name_before_it_is_whole(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = data_set(tmp_path / "data")
    during: list[list[str]] = []
    whole = pack_build.decode_files

    def fail(*args: object, **settings: object) -> dict[int, Outcome]:
        whole(*args, **settings)  # type: ignore[arg-type]
        during.append(packs(tmp_path / "cache"))
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(pack_build, "decode_files", fail)
        with pytest.raises(KeyboardInterrupt):
            open_(root, tmp_path / "cache")
    assert len(during) == 1
    assert [name.startswith(".building-") for name in during[0]] == [True]
    assert packs(tmp_path / "cache") == []
    assert open_(root, tmp_path / "cache").decoded_indices == list(range(6))


def test_what_a_killed_process_left_is_never_taken_and_goes_at_last(
    tmp_path: Path, decoded: list[str]
) -> None:
    root = data_set(tmp_path / "data")
    cache = tmp_path / "cache"
    open_(root, cache)
    left = {
        ".building-old": time.time() - pack_folders.ABANDONED_AFTER_SECONDS - 60,
        ".building-new": time.time() - 60,
    }
    for name, when in left.items():
        shutil.copytree(cache / "packs" / packs(cache)[-1], cache / "packs" / name)
        os.utime(cache / "packs" / name, (when, when))

    add(root)
    assert open_(root, cache).decoded_indices == list(range(7))
    assert [name for name in packs(cache) if name.startswith(".")] == [".building-new"]


def test_the_pixels_are_on_the_disk_before_the_index_is(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave a pack that looks whole and is black."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        files = (tmp_path / "cache").glob("packs/.*/pack/*")
        synced.extend(file.name for file in files if os.path.samestat(file.stat(), os.fstat(descriptor)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    open_(data_set(tmp_path / "data"), tmp_path / "cache")
    assert synced[:2] == ["pixels", ".index.json.part"]


def test_threads_that_make_the_same_pack(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    made: list[Pack] = []
    threads = [Thread(target=lambda: made.append(open_(root, tmp_path / "cache"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 4
    assert len({each.fingerprint for each in made}) == 1
    for each in made:
        assert np.array_equal(each.pixels, [image(seed) for seed in range(6)])
    assert len(packs(tmp_path / "cache")) == 1


def test_a_process_that_was_slower_takes_the_other_s_pack(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = data_set(tmp_path / "data")
    cache = tmp_path / "cache"
    program = (
        "import sys; from pathlib import Path; from foveal.data.pack import open_pack\n"
        "from foveal.data.scan import scan; from foveal.recipe.recipe import Image\n"
        "open_pack(scan(sys.argv[1]), Image(size=8), Path(sys.argv[2]))\n"
    )
    whole = pack_build.decode_files
    inside: list[int] = []

    def slow(*args: object, **settings: object) -> dict[int, Outcome]:
        subprocess.run([sys.executable, "-c", program, root, cache], check=True)
        inside.extend(each.stat().st_ino for each in (cache / "packs").glob("[!.]*/index.json"))
        return whole(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(pack_build, "decode_files", slow)
    made = open_(root, cache)
    assert np.array_equal(made.pixels, [image(seed) for seed in range(6)])
    assert [each.stat().st_ino for each in (cache / "packs").glob("*/index.json")] == inside
    assert len(packs(cache)) == 1


@pytest.mark.parametrize("call", ["mkdir", "posix_fallocate", "fsync", "rename"])
def test_a_full_disk_is_an_outside_fault_and_leaves_nothing(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    root = data_set(tmp_path / "data")
    listing = scan(root)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        where = Path if call in ("mkdir", "rename") else os
        full.setattr(where, call, fail, raising=False)
        with pytest.raises(OutsideError, match=r"cannot write .*cache.*: No space left on device"):
            open_pack(listing, SMALL, tmp_path / "cache")
    assert not (tmp_path / "cache/packs").exists() or packs(tmp_path / "cache") == []
    assert open_pack(listing, SMALL, tmp_path / "cache").decoded_indices == list(range(6))


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(OutsideError, match=r"cannot write .*cache"):
        open_(data_set(tmp_path / "data"), tmp_path / "cache")


def test_a_pack_in_a_cache_that_is_only_read(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = data_set(tmp_path / "data")
    open_(root, tmp_path / "cache")

    def refuse(path: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert open_(root, tmp_path / "cache").decoded_indices == list(range(6))
    assert len(decoded) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_names_that_are_no_text(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    names = ["c/\udcff\udcfe.png", "c/line\nbreak\r.png", 'c/"quoted\\".png', "c/\u2028é.png"]
    for name in names:
        (root / name).write_bytes(encode_png(image(0)))

    first, second = open_(root, tmp_path / "cache"), open_(root, tmp_path / "cache")
    assert set(names) < set(first.paths) == set(second.paths)
    assert first.fingerprint == second.fingerprint
    assert len(decoded) == 10


# ---- eviction


def test_the_least_recently_used_pack_goes_first(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    size = 6 * 8 * 8 * 3
    monkeypatch.setattr(pack_folders, "MAX_CACHE_BYTES", 3 * size)
    roots = [data_set(tmp_path / name) for name in "1234"]
    folders: list[str] = []
    for age, root in enumerate(roots[:3]):
        open_(root, cache)
        folders += set(packs(cache)) - set(folders)
        os.utime(cache / "packs" / folders[-1], (1000 + age, 1000 + age))
    assert len(packs(cache)) == 3
    open_(roots[0], cache)  # now the second is the oldest

    open_(roots[3], cache)
    assert folders[1] not in packs(cache)
    assert {folders[0], folders[2]} < set(packs(cache))
    assert len(packs(cache)) == 3


def test_a_pack_larger_than_the_limit_is_kept_while_it_is_new(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_folders, "MAX_CACHE_BYTES", 10)
    for name in "12":
        assert open_(data_set(tmp_path / name), tmp_path / "cache").decoded_indices == list(range(6))
        assert len(packs(tmp_path / "cache")) == 1


# ---- images are required


@pytest.mark.parametrize(
    ("layout", "where"), [("", "d"), ("train/", "train/d"), ("valid/", "valid/d"), ("train2/", "train2/d")]
)
def test_a_class_without_a_readable_image_is_refused(
    tmp_path: Path, decoded: list[str], layout: str, where: str
) -> None:
    others = {"": [], "train/": ["test"], "valid/": ["train"], "train2/": ["train1"]}[layout]
    for other in others:
        data_set(tmp_path / "data" / other)
    root = data_set(tmp_path / "data" / layout)
    listing = scan(tmp_path / "data")
    require_images(open_pack(listing, SMALL, tmp_path / "cache"), listing)

    for file in (root / "d").iterdir():
        file.write_text("text")
    listing = scan(tmp_path / "data")
    made = open_pack(listing, SMALL, tmp_path / "cache")
    with pytest.raises(DataError) as refused:
        require_images(made, listing)
    assert str(refused.value) == (
        f"no file of the class folder {tmp_path / 'data' / where} can be read as an image; the first, "
        f"{where}/3.png: no image in a known format: JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF, HEIF"
    )


def test_one_readable_image_is_enough(tmp_path: Path, decoded: list[str]) -> None:
    root = data_set(tmp_path / "data")
    (root / "d/3.png").write_text("text")
    (root / "d/4.png").write_text("text")
    listing = scan(root)
    require_images(open_pack(listing, SMALL, tmp_path / "cache"), listing)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([(), (3,), None])),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["rgb", "grey", "auto"]),
    st.sampled_from(["stretch", "crop", "pad"]),
)
def test_a_pack_has_what_decoding_each_file_gives(
    decoded: list[str], shapes: list[tuple[int, int, tuple[int, ...] | None]], channels: str, fit: str
) -> None:
    """Whatever shapes come together, broken files between them; read back from the disk a second time."""
    with tempfile.TemporaryDirectory() as place:
        root, cache = Path(place, "data"), Path(place, "cache")
        for number, (height, width, rest) in enumerate(shapes):
            file = data_set(root, 1) / "cd"[number % 2] / f"more-{number}.png"
            content = b"broken" if rest is None else encode_png(image(number, height, width, *rest))
            file.write_bytes(content)
        wanted = Image(size=8, channels=channels, fit=fit)  # type: ignore[arg-type]
        first, again = open_(root, cache, wanted), open_(root, cache, wanted)
        assert np.array_equal(first.pixels, again.pixels)
        assert (first.errors, first.digests, first.fingerprint) == (
            again.errors,
            again.digests,
            again.fingerprint,
        )
        for row, path in enumerate(first.paths):
            content = (root / path).read_bytes()
            if content == b"broken":
                assert "no image in a known format" in first.errors[row]
                continue
            assert row not in first.errors
            assert np.array_equal(first.pixels[row], decode(content, first.decoding).pixels)
