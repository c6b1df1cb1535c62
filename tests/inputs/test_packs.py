"""Decoded images in the cache: whatever happened to them or to the files since, the right ones are used."""

import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from foveal.data import checksums, decode_worker, pack_build, pack_folders, pack_index
from foveal.data import pack as module
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.decode_worker import Outcome
from foveal.data.duplicates import describe_equal_files
from foveal.data.options import DataOptions
from foveal.data.pack import Pack, open_pack
from foveal.data.pack_index import INDEX, STAMPS
from foveal.data.scan import Listing, scan
from foveal.files.run_records import DatasetRecord
from foveal.files.typed_json import plain, read
from foveal.recipe.recipe import Channels, Image
from foveal.reporting.data_findings import describe_dataset
from foveal.types import Pixels

SMALL = Image(size=8)
FLIPS = int(os.environ.get("FOVEAL_FLIPS", "40"))


def image(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape or (8, 8, 3), dtype=np.uint8)


def write(file: Path, pixels: Pixels) -> None:
    """Write an uncompressed image with a fixed time: files of equal shape have equal sizes and times."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(file, format="BMP")
    os.utime(file, (1, 1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten images, which differ in content alone."""
    for index in range(20):
        write(tmp_path / "data" / "ab"[index // 10] / f"{index % 10}.bmp", image(index))
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decode in this process, which is faster, and list the files that were."""
    files: list[str] = []

    def decode_files(root: Path, jobs: list[tuple[int, str]], **settings: object) -> dict[int, Outcome]:
        files.extend(path for _, path in jobs)
        decoding, n = settings["decoding"], settings["n_images"]
        shape = (n, decoding.size, decoding.size, decoding.channels)  # type: ignore[attr-defined]
        pixels = np.memmap(settings["pixels"], dtype=np.uint8, mode="r+", shape=shape)  # type: ignore[call-overload]
        return {
            row: decode_worker.decode_file(str(root), path, decoding, pixels, row)  # type: ignore[arg-type]
            for row, path in jobs
        }

    monkeypatch.setattr(pack_build, "decode_files", decode_files)
    return files


@pytest.fixture
def no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare no sample, which would notice everything in such a small data set."""
    monkeypatch.setattr(module, "MAX_SAMPLED_FILES", 0)


def open_(root: Path, cache: Path, settings: Image = SMALL, *, verify: bool = False) -> Pack:
    return open_pack(scan(root), settings, cache, verify=verify)


def get_folder(cache: Path) -> Path:
    (folder,) = (cache / "packs").iterdir()
    return folder


def assert_right(pack: Pack, root: Path) -> None:
    """Assert that a pack is the one of the files as they are now."""
    for row, path in enumerate(pack.paths):
        assert np.array_equal(pack.pixels[row], np.asarray(Pillow.open(root / path))), path


# ---- files that changed although name, size and time did not


def swap_between_classes(root: Path) -> set[str]:
    (root / "a/3.bmp").rename(root / "t")
    (root / "b/3.bmp").rename(root / "a/3.bmp")
    (root / "t").rename(root / "b/3.bmp")
    return {"a/3.bmp", "b/3.bmp"}


def swap_in_a_class(root: Path) -> set[str]:
    (root / "a/3.bmp").rename(root / "t")
    (root / "a/4.bmp").rename(root / "a/3.bmp")
    (root / "t").rename(root / "a/4.bmp")
    return {"a/3.bmp", "a/4.bmp"}


def swap_classes(root: Path) -> set[str]:
    (root / "a").rename(root / "t")
    (root / "b").rename(root / "a")
    (root / "t").rename(root / "b")
    return {f"{label}/{index}.bmp" for label in "ab" for index in range(10)}


def overwrite(root: Path) -> set[str]:
    write(root / "a/3.bmp", image(99))
    return {"a/3.bmp"}


def replace_by_copy(root: Path) -> set[str]:
    write(root / "t.bmp", image(99))
    (root / "t.bmp").replace(root / "a/3.bmp")
    return {"a/3.bmp"}


def restore_class_from_backup(root: Path) -> set[str]:
    shutil.copytree(root / "b", root.parent / "backup")  # with times
    shutil.rmtree(root / "a")
    shutil.copytree(root.parent / "backup", root / "a")
    return {f"a/{index}.bmp" for index in range(10)}


def exchange_link_targets(root: Path) -> set[str]:
    swap_between_classes(root.parent / "store")
    return {"a/3.bmp", "b/3.bmp"}


CHANGES = [
    swap_between_classes,
    swap_in_a_class,
    swap_classes,
    overwrite,
    replace_by_copy,
    restore_class_from_backup,
]


@pytest.mark.usefixtures("no_sample")
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_size_and_time_do_not_show_is_noticed(
    root: Path,
    cache: Path,
    decoded: list[str],
    change: Callable[[Path], set[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = open_(root, cache)
    changed = change(root)
    before = [record[:3] for record in scan(root).records]
    decoded.clear()
    capsys.readouterr()

    second = open_(root, cache)
    assert set(decoded) == changed, "what changed is decoded, and nothing else"
    assert_right(second, root)
    assert second.fingerprint != first.fingerprint
    assert [record[:3] for record in scan(root).records] == before
    said = capsys.readouterr().err
    assert "other bytes than before, though name, size and time did not change" in said
    assert said.count("\n") == 1
    decoded.clear()
    assert open_(root, cache).fingerprint == second.fingerprint
    assert decoded == []


@pytest.mark.usefixtures("no_sample")
def test_links_whose_targets_were_exchanged_are_noticed(root: Path, cache: Path, decoded: list[str]) -> None:
    root.rename(root.parent / "store")
    for file in sorted((root.parent / "store").glob("*/*")):
        link = root / file.relative_to(root.parent / "store")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    open_(root, cache)
    decoded.clear()
    changed = exchange_link_targets(root)
    assert_right(open_(root, cache), root)
    assert set(decoded) == changed


def touch_rights(root: Path) -> None:
    for file in root.glob("*/*"):
        file.chmod(0o600)


def copy_and_replace(root: Path) -> None:
    shutil.copytree(root, root.parent / "copy")
    shutil.rmtree(root)
    (root.parent / "copy").rename(root)


def add_hard_links(root: Path) -> None:
    (root.parent / "links").mkdir()
    for file in root.glob("a/*"):
        os.link(file, root.parent / "links" / file.name)


@pytest.mark.usefixtures("no_sample")
@pytest.mark.parametrize("touch", [touch_rights, copy_and_replace, add_hard_links])
def test_other_inodes_or_times_with_the_same_bytes_decode_nothing(
    root: Path,
    cache: Path,
    decoded: list[str],
    touch: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = open_(root, cache)
    decoded.clear()
    touch(root)
    assert open_(root, cache).fingerprint == first.fingerprint
    assert decoded == []

    monkeypatch.setattr(module, "iter_file_digests", lambda *_: pytest.fail("the stamps should be known now"))
    assert open_(root, cache).fingerprint == first.fingerprint


@pytest.mark.usefixtures("no_sample")
def test_labels_repaired_by_moving_files_are_another_data_set(root: Path, cache: Path) -> None:
    """As when a run is evaluated after that: its fingerprint is not that of the data any more."""
    options = DataOptions(root, cache=cache)
    first = open_dataset(options, SMALL)
    swap_between_classes(root)
    second = open_dataset(options, SMALL)
    assert second.fingerprint != first.fingerprint
    assert (
        dict(zip(second.pack.paths, second.pack.digests, strict=True))["a/3.bmp"]
        == dict(zip(first.pack.paths, first.pack.digests, strict=True))["b/3.bmp"]
    )


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a file system where neither inodes nor change times nor folders' times tell anything."""

    def hide(listing: Listing) -> pack_index.FileTable:
        table = real(listing)
        return pack_index.FileTable(
            paths=table.paths, sizes_and_times=table.sizes_and_times, stamps=np.zeros_like(table.stamps)
        )

    real = pack_index.FileTable.of
    monkeypatch.setattr(pack_index.FileTable, "of", staticmethod(hide))


@pytest.mark.usefixtures("blind")
def test_without_inodes_a_sample_notices_what_changed(root: Path, cache: Path, decoded: list[str]) -> None:
    open_(root, cache)
    changed = swap_classes(root)
    decoded.clear()
    assert_right(open_(root, cache), root)
    assert set(decoded) == changed


@pytest.mark.usefixtures("blind", "no_sample")
def test_verify_reads_every_file(root: Path, cache: Path, decoded: list[str]) -> None:
    first = open_(root, cache)
    changed = swap_in_a_class(root)
    decoded.clear()
    assert open_(root, cache).fingerprint == first.fingerprint, "it cannot be noticed otherwise"
    second = open_dataset(DataOptions(root, cache=cache, verify=True), SMALL).pack
    assert set(decoded) == changed
    assert_right(second, root)


@pytest.mark.usefixtures("no_sample")
def test_without_inodes_the_times_of_folders_tell(root: Path, cache: Path, decoded: list[str]) -> None:
    """As on Windows, where the change time is that of creation and listings have no inodes."""

    def scan_without(root: Path) -> Listing:
        listing = scan(root)
        records = tuple(record._replace(inode=0, changed=5) for record in listing.records)
        return type(listing)(**{**vars(listing), "records": records})

    open_pack(scan_without(root), SMALL, cache)
    decoded.clear()
    changed = swap_between_classes(root)
    assert_right(open_pack(scan_without(root), SMALL, cache), root)
    assert set(decoded) == changed


# ---- damage


def flip(file: Path, bit: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(bit // 8)
        (byte,) = stream.read(1)
        stream.seek(bit // 8)
        stream.write(bytes([byte ^ 1 << bit % 8]))


def test_no_flipped_bit_changes_anything_silently(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    """In whichever file of the pack: the images, their digests and errors are those of an undamaged pack."""
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 5 * 8 * 8 * 3)
    (root / "b/text.bmp").write_text("no image")
    whole = open_dataset(DataOptions(root, cache=cache), SMALL)
    folder = get_folder(cache)
    random = np.random.default_rng(0)
    files = sorted(file.name for file in folder.iterdir())
    assert files == [INDEX, "pixels", STAMPS]
    for number in range(FLIPS):
        file = folder / files[number % 3]
        flip(file, int(random.integers(8 * file.stat().st_size)))
        again = open_dataset(DataOptions(root, cache=cache), SMALL)
        assert np.array_equal(again.pack.pixels, whole.pack.pixels), (number, file.name)
        assert again.to_record() == whole.to_record(), (number, file.name)
        assert again.pack.errors == whole.pack.errors


def test_damaged_pixels_are_made_again_and_told(
    root: Path,
    cache: Path,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 4 * 8 * 8 * 3)
    open_(root, cache)
    flip(get_folder(cache) / "pixels", 8 * 6 * 8 * 8 * 3)
    decoded.clear()
    capsys.readouterr()
    assert_right(open_(root, cache), root)
    assert decoded == [f"a/{index}.bmp" for index in range(4, 8)], "a block is decoded again, and no more"
    said = capsys.readouterr().err
    assert said == (
        f"warning: 4 of 20 decoded images in {get_folder(cache)} are damaged; they are made again from their "
        f"files\n"
    )
    assert_right(open_(root, cache), root)
    assert len(decoded) == 4
    assert capsys.readouterr().err == ""


def test_a_zeroed_part_of_the_pixels_is_noticed_before_a_data_set_is_used(root: Path, cache: Path) -> None:
    open_(root, cache)
    with (get_folder(cache) / "pixels").open("r+b") as stream:
        stream.write(bytes(4 * 8 * 8 * 3))
    assert_right(open_dataset(DataOptions(root, cache=cache), SMALL).pack, root)


@pytest.mark.parametrize("damage", ["an error", "a digest", "no JSON", "another pack's", "empty"])
def test_a_damaged_index_never_accuses_the_images(
    root: Path, cache: Path, damage: str, capsys: pytest.CaptureFixture[str], decoded: list[str]
) -> None:
    first = open_(root, cache)
    index = get_folder(cache) / INDEX
    content = index.read_bytes()
    match damage:
        case "an error":
            content = content.replace(b'"errors": {}', b'"errors": {"0": "no image"}')
        case "a digest":
            content = content.replace(first.digests[3].encode(), first.digests[4].encode())
        case "no JSON":
            content = content[:-9]
        case "another pack's":
            shutil.copytree(root, root.parent / "other")
            (root.parent / "other/a/0.bmp").unlink()
            open_(root.parent / "other", root.parent / "cache2")
            content = (get_folder(root.parent / "cache2") / INDEX).read_bytes()
        case "empty":
            content = b""
    assert content != index.read_bytes()
    index.write_bytes(content)
    decoded.clear()
    capsys.readouterr()
    again = open_(root, cache)
    assert (again.errors, again.fingerprint) == ({}, first.fingerprint)
    assert_right(again, root)
    assert len(decoded) == 20
    said = capsys.readouterr().err
    assert "are damaged; all are made again from their files" in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("no_sample")
def test_a_damaged_file_of_stamps_costs_reading_and_no_decoding(
    root: Path, cache: Path, decoded: list[str]
) -> None:
    first = open_(root, cache)
    (get_folder(cache) / STAMPS).unlink()
    decoded.clear()
    assert open_(root, cache).fingerprint == first.fingerprint
    assert decoded == []
    assert (get_folder(cache) / STAMPS).exists()


@pytest.mark.usefixtures("no_sample")
def test_damage_and_a_change_at_once(root: Path, cache: Path) -> None:
    open_(root, cache)
    flip(get_folder(cache) / "pixels", 100)
    swap_between_classes(root)
    assert_right(open_(root, cache), root)


def test_a_damaged_pack_in_a_cache_that_cannot_be_written_is_not_used(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_(root, cache)
    flip(get_folder(cache) / "pixels", 100)

    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pack_folders.tempfile, "mkdtemp", refuse)
    with pytest.raises(module.OutsideError, match="cannot write"):
        open_(root, cache)


# ---- what was decoded in part is what would have been decoded at once


@pytest.mark.parametrize("channels", ["auto", "rgb", "grey"])
@pytest.mark.parametrize(
    "change", ["grey", "colour", "deep", "wider deep", "no image", "no deep", "all grey"]
)
def test_a_patched_pack_is_a_new_pack(root: Path, cache: Path, channels: Channels, change: str) -> None:
    def put(path: str, pixels: Pixels | bytes) -> None:
        content = io.BytesIO()
        if isinstance(pixels, bytes):
            content.write(pixels)
        else:
            Pillow.fromarray(pixels).save(content, format="PNG")
        (root / path).write_bytes(content.getvalue().ljust(1000, b"\0"))
        os.utime(root / path, (1, 1))

    ramp = np.linspace(1000, 3000, 64).astype(np.uint16).reshape(8, 8)
    for index in range(10):
        put(f"a/{index}.bmp", image(index, 8, 8))
        put(f"b/{index}.bmp", image(50 + index, 8, 8))
    if change != "colour":
        put("a/0.bmp", image(7))
    if change in ("wider deep", "no deep"):
        put("b/1.bmp", ramp.astype(np.uint16))
    settings = Image(size=8, channels=channels)
    open_(root, cache, settings)
    match change:
        case "grey":
            put("a/1.bmp", image(99, 8, 8))
        case "colour":
            put("a/1.bmp", image(99))
        case "deep":
            put("a/1.bmp", ramp)
        case "wider deep":
            put("a/1.bmp", ramp + 500)
        case "no image":
            put("a/1.bmp", b"no image")
        case "no deep":
            put("b/1.bmp", image(99, 8, 8))
        case "all grey":
            put("a/0.bmp", image(99, 8, 8))
    patched, fresh = open_(root, cache, settings), open_(root, root.parent / "cache2", settings)
    assert patched.decoding == fresh.decoding
    assert (patched.digests, patched.errors, patched.notes) == (fresh.digests, fresh.errors, fresh.notes)
    assert np.array_equal(patched.pixels, fresh.pixels)
    first, second = (pack_index.read_index(get_folder(each))[0] for each in (cache, root.parent / "cache2"))
    assert first == second


# ---- what failed is tried again, and nothing else


def test_a_retry_decodes_only_what_failed(
    root: Path, cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as locked:

        def refuse(path: str, *args: object, **options: object) -> object:
            if path.endswith("a/3.bmp"):
                raise PermissionError(errno.EACCES, "Permission denied")
            return io.open(path, *args, **options)  # type: ignore[call-overload] # noqa: UP020

        locked.setattr(decode_worker, "open", refuse, raising=False)
        locked.setattr(checksums, "open", refuse, raising=False)
        assert open_(root, cache).errors == {3: "cannot be read: Permission denied"}
        decoded.clear()
        assert open_(root, cache).retry
        assert decoded == [], "it still cannot be read"
    assert_right(open_(root, cache), root)
    assert decoded == ["a/3.bmp"]
    decoded.clear()
    open_(root, cache)
    assert decoded == []


@pytest.mark.parametrize("retry", [False, True])
def test_what_took_too_long_is_not_tried_again(
    root: Path, cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, retry: bool
) -> None:
    real = pack_build.decode_files

    def decode_files(*args: object, **settings: object) -> dict[int, Outcome]:
        outcomes = real(*args, **settings)  # type: ignore[arg-type]
        return {
            slot: Outcome(error="slow", retry=retry) if decoded[-len(outcomes) :][slot] == "a/3.bmp" else each
            for slot, each in outcomes.items()
        }

    monkeypatch.setattr(pack_build, "decode_files", decode_files)
    assert open_(root, cache).errors == {3: "slow"}
    pack_before = get_folder(cache).stat().st_ino
    decoded.clear()
    touch_rights(root)
    for _ in range(2):
        assert open_(root, cache).errors == {3: "slow"}
    assert decoded == (["a/3.bmp"] * 2 if retry else []), "its digest is known, so it is the same file"
    assert get_folder(cache).stat().st_ino == pack_before


# ---- what killed processes leave


def test_what_a_killed_process_left_goes_at_once(root: Path, cache: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from foveal.data.pack_folders import workplace\n"
        "with workplace(Path(sys.argv[1])) as new:\n"
        "    (new / 'pixels').write_bytes(bytes(1000)); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, cache / "packs"], check=False)
    assert [each.name.startswith(".building-") for each in (cache / "packs").iterdir()] == [True]
    open_(root, cache)
    assert not get_folder(cache).name.startswith(".")


def test_what_a_running_process_makes_stays(root: Path, cache: Path) -> None:
    with pack_folders.workplace(cache / "packs") as new:
        open_(root, cache)
        assert new.exists()
    assert not new.parent.exists()


# ---- the same bytes twice


def divide(root: Path, cache: Path, *copies: tuple[str, str]) -> Dataset:
    for source, target in copies:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / source, root / target)
    return open_dataset(DataOptions(root, cache=cache), SMALL)


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Training, validation and test folders without any file in two of them."""
    for index in range(12):
        split, label = ("train", "val", "test")[index // 4], "ab"[index % 2]
        write(tmp_path / "divided" / split / label / f"{index}.bmp", image(index))
    return tmp_path / "divided"


def test_no_equal_files_no_words(divided: Path, cache: Path) -> None:
    assert divide(divided, cache).equal_files == ()


def test_equal_files_in_two_classes(root: Path, cache: Path) -> None:
    (equal,) = divide(root, cache, ("a/1.bmp", "b/x.bmp"), ("a/2.bmp", "b/y.bmp")).equal_files
    assert (equal.kind, equal.n) == ("classes", 4)
    assert equal.pairs == (("a/1.bmp", "b/x.bmp"), ("a/2.bmp", "b/y.bmp"))
    assert describe_equal_files(equal) == (
        "4 files hold the same bytes as a file of another class (a/1.bmp and b/x.bmp; a/2.bmp and b/y.bmp; …)"
        ": at most one of their labels is right; correct the labels, or remove the files"
    )


def test_equal_files_in_one_class_are_no_mistake(root: Path, cache: Path) -> None:
    dataset = divide(root, cache, ("a/1.bmp", "a/x.bmp"))
    assert dataset.equal_files == (), "a division that is drawn keeps equal files together"


@pytest.mark.parametrize(
    ("copy", "between", "sentence"),
    [
        (("train/a/0.bmp", "test/a/x.bmp"), ("test", "train"), "1 test image is a training image too"),
        (("train/a/0.bmp", "val/a/x.bmp"), ("validation", "train"), "1 validation image is a training image"),
        (("val/a/4.bmp", "test/a/x.bmp"), ("test", "validation"), "1 test image is a validation image too"),
    ],
)
def test_equal_files_in_two_splits(
    divided: Path, cache: Path, copy: tuple[str, str], between: tuple[str, str], sentence: str
) -> None:
    (equal,) = divide(divided, cache, copy).equal_files
    assert (equal.kind, equal.between, equal.n) == ("splits", between, 1)
    assert equal.pairs == (copy[::-1],)
    assert describe_equal_files(equal).startswith(sentence)


def test_equal_files_are_kept_and_reported(divided: Path, cache: Path) -> None:
    copies = [("train/a/0.bmp", f"test/{label}/x{index}.bmp") for label in "ab" for index in range(2)]
    record = divide(divided, cache, *copies).to_record()
    stored = read(plain(record), DatasetRecord, "dataset")
    assert [(equal.kind, equal.n) for equal in stored.equal_files] == [("classes", 5), ("splits", 4)]
    assert [finding.kind for finding in describe_dataset(stored)] == [
        "equal_files_in_classes",
        "equal_files_in_splits",
    ]
    assert "4 test images are training images too, byte for byte" in describe_dataset(stored)[1].sentence


def test_a_record_from_before_has_no_equal_files(divided: Path, cache: Path) -> None:
    old = plain(divide(divided, cache).to_record())
    assert isinstance(old, dict)
    del old["equal_files"]
    assert read(old, DatasetRecord, "dataset").equal_files == ()


def test_rejected_files_with_equal_bytes_do_not_count(root: Path, cache: Path) -> None:
    (root / "a/text.bmp").write_text("no image")
    assert divide(root, cache, ("a/text.bmp", "b/text.bmp")).equal_files == ()


def test_images_in_two_classes_are_told_with_the_names_made_harmless(root: Path, cache: Path) -> None:
    (equal,) = divide(root, cache, ("a/1.bmp", "b/\x1b[31m.bmp")).equal_files
    assert "\x1b" not in describe_equal_files(equal)
