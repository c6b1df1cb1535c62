import gc
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from foveal.data import dataset as module
from foveal.data.dataset import Dataset, get_default_cache, open_dataset
from foveal.data.decode import encode_png
from foveal.data.options import DataOptions
from foveal.errors import DataError
from foveal.recipe.recipe import Image

SMALL = Image(size=8, channels="auto")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training folders and a test, with 4 images of each of two classes, and some junk."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split in ("train1", "train2", "train3", "test"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(4):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                (folder / split / label / f"{number}.png").write_bytes(encode_png(pixels))
    (folder / "train1/cat/notes.png").write_text("no image")
    (folder / "README.md").write_text("about")
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(root: Path, kept: Path) -> Dataset:
    return open_dataset(DataOptions(root, cache=kept), SMALL)


def test_a_data_set_is_listed_decoded_and_divided(data: Dataset, root: Path) -> None:
    assert data.root == root
    assert data.classes == ("cat", "dog")
    assert [len(part) for part in data.splits.train] == [8, 8]
    for name, folders in {"train": {"train1", "train2"}, "validation": {"train3"}, "test": {"test"}}.items():
        rows = data.get_indices(name)  # type: ignore[arg-type]
        paths = [data.pack.paths[row].split("/") for row in rows.tolist()]
        assert {path[0] for path in paths} == folders
        assert [data.classes[data.labels[row]] for row in rows.tolist()] == [path[1] for path in paths]
        assert data.count_classes(rows) == [len(rows) // 2] * 2


def test_what_is_left_out_is_named_with_the_reason(data: Dataset) -> None:
    assert data.left_out == {
        "README.md": "lies in no class folder",
        "train1/cat/notes.png": "no image in a known format: JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF, HEIF",
    }


def test_dataset_json_says_it_all(data: Dataset) -> None:
    stored = json.loads(json.dumps(asdict(data.to_record()), allow_nan=False))

    assert stored["schema"] == 1
    assert stored["fingerprint"] == data.pack.fingerprint
    assert stored["classes"] == ["cat", "dog"]
    assert stored["rule"] == "train1, train2 train, train3 validates"
    assert stored["decoding"] == data.pack.decoding.to_json()
    assert {name: each["n"] for name, each in stored["splits"].items()} == {
        "train": 16,
        "validation": 8,
        "test": 8,
    }
    assert stored["splits"]["train"]["classes"] == [8, 8]
    by_path = dict(zip(data.pack.paths, data.pack.digests, strict=True))
    files = [tuple(file) for each in stored["splits"].values() for file in each["files"]]
    assert dict(files) == {path: digest for path, digest in by_path.items() if path not in data.left_out}
    assert stored["left_out"][0] == {"path": "README.md", "reason": "lies in no class folder"}


def test_nothing_in_dataset_json_says_where_the_folder_lies(
    data: Dataset, root: Path, kept: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    assert open_dataset(DataOptions(copy, cache=kept), SMALL).to_record() == data.to_record()


def test_options_are_remembered(root: Path, kept: Path) -> None:
    options = DataOptions(str(root), validation="train1", group=r"train\d|test", cache=kept)
    found = open_dataset(options, SMALL)
    assert (found.options, found.share) == (options, None)
    assert [len(part) for part in found.splits.train] == [8, 8]
    assert len(found.get_indices("validation")) == 8


def test_a_split_without_images_is_refused(root: Path, kept: Path) -> None:
    found = open_dataset(DataOptions(root, validation="none", cache=kept), SMALL)
    assert len(found.get_indices("train")) == 24
    with pytest.raises(DataError, match="has no validation images under this division: all train"):
        found.get_indices("validation")


@pytest.mark.parametrize(
    "option", [{"validation": "test"}, {"validation": "train9"}, {"group": "("}, {"group": "x"}]
)
def test_wrong_options_are_refused_before_anything_is_decoded(
    root: Path, tmp_path: Path, option: dict[str, str]
) -> None:
    with pytest.raises(DataError, match=r"^--"):
        open_dataset(DataOptions(root, cache=tmp_path / "cache", **option), SMALL)  # type: ignore[arg-type]
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_the_user_s_unless_named(
    root: Path, kept: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_default_cache().name == "foveal"
    monkeypatch.setattr(module, "get_default_cache", lambda: kept)
    assert open_dataset(root, SMALL).pack.fingerprint == data.pack.fingerprint


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_afterwards_as_it_was_before(root: Path, kept: Path, enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        open_dataset(DataOptions(root, cache=kept), SMALL)
        assert gc.isenabled() == enabled
        with pytest.raises(DataError):
            open_dataset(DataOptions(root / "nowhere", cache=kept), SMALL)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
