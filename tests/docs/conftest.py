"""What the tests of the documents share: the pages, and a small folder of digits to run their code on."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """Return the code blocks in a language."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, flags=re.DOTALL | re.MULTILINE)

    def commands(self) -> list[str]:
        """Return the command lines in blocks marked sh, without comments."""
        lines = "".join(self.blocks("sh")).replace("\\\n", " ").splitlines()
        return [line.partition(" # ")[0].strip() for line in lines if line.strip()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `page` every page, and `guide` the README and the guides."""
    guides = [ROOT / "README.md", ROOT / "docs/index.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
    others = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/decisions").glob("*.md"))]
    paths = {"guide": guides, "page": list(dict.fromkeys([*guides, *others]))}
    for name in paths.keys() & set(metafunc.fixturenames):
        ids = [str(path.relative_to(ROOT)) for path in paths[name]]
        metafunc.parametrize(name, [Page(path) for path in paths[name]], ids=ids)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture
def empty_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder. The cache for decoded images is shared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return tmp_path


@pytest.fixture
def workplace(empty_folder: Path, some_digits: Path, finished: Path, one_thread: None) -> Path:
    """A working folder with `digits`, and with the runs that guides take for granted."""
    (empty_folder / "digits").symlink_to(some_digits)
    shutil.copytree(finished, empty_folder / "runs" / "cut")
    return empty_folder
