from pathlib import Path

from PIL import Image

from foveal.data.probe import probe_files
from foveal.data.scan import scan


def lay(root: Path, sides: list[tuple[int, int]]) -> Path:
    for number, side in enumerate(sides):
        folder = root / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", side).save(folder / f"{number}.png")
    return root


def test_the_median_of_the_longer_sides(tmp_path: Path) -> None:
    seen = probe_files(scan(lay(tmp_path, [(10, 20), (30, 5), (40, 40), (28, 28), (8, 8)])))
    assert seen is not None
    assert seen.side == 28
    assert 0 < seen.seconds < 1


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    root = lay(tmp_path, [(10, 10), (12, 12)])
    (root / "cat" / "broken.png").write_bytes(b"no image")
    seen = probe_files(scan(root))
    assert seen is not None
    assert seen.side == 11


def test_nothing_to_be_read(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"")
    assert probe_files(scan(tmp_path)) is None
