import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from foveal.data.archive import Member, iter_members
from foveal.errors import DataError

FILES = {"set/one": b"first" * 100, "set/two": b"second" * 1000, "set/three": b""}


def member(content: bytes) -> Member:
    return Member(size=len(content), md5=hashlib.md5(content).hexdigest())


WANTED = {name: member(content) for name, content in FILES.items()}


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def pack(
    path: Path, files: Mapping[str, bytes], *extra: tuple[tarfile.TarInfo, bytes], mode: str = "w"
) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in extra:
            tar.addfile(info, io.BytesIO(content))
        for name, content in files.items():
            tar.addfile(header(name, len(content)), io.BytesIO(content))
    return path


def read(path: Path, limit: int = 1 << 20) -> dict[str, bytes]:
    return dict(iter_members(path, WANTED, max_bytes=limit))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_files_come_back_from_a_tar_packed_or_not(tmp_path: Path, mode: str) -> None:
    assert read(pack(tmp_path / "a", FILES, mode=mode)) == FILES


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_files_come_back_whatever_else_is_there(tmp_path: Path, style: int) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=style) as tar:
        tar.addfile(header("./set", kind=tarfile.DIRTYPE))
        for name in ("set/readme.html", "../../escape", "/etc/passwd", "é" * 30):
            tar.addfile(header(name, 4), io.BytesIO(b"else"))
        tar.addfile(header("set/link", kind=tarfile.SYMTYPE, link="/etc/passwd"))
        for name in reversed(FILES):
            tar.addfile(header(f"./{name}", len(FILES[name])), io.BytesIO(FILES[name]))

    assert read(path) == FILES


def test_a_lacking_file_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {"set/one": FILES["set/one"]})

    with pytest.raises(DataError, match=r"a\.tar lacks set/three, set/two; get the archive again"):
        read(path)


def test_a_changed_file_is_named_and_never_given(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {**FILES, "set/two": b"Second" * 1000})
    reading = iter_members(path, WANTED, max_bytes=1 << 20)

    assert next(reading) == ("set/one", FILES["set/one"])
    with pytest.raises(DataError, match=r"set/two has the md5 .* and the official file has"):
        next(reading)


@pytest.mark.parametrize(
    "impostor",
    [
        header("set/one", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        header("set/one", kind=tarfile.SYMTYPE, link="set/two"),
        header("set/one", kind=tarfile.LNKTYPE, link="set/two"),
        header("set/one", 500, kind=tarfile.SYMTYPE, link="set/two"),
        header("set/one", 500, kind=tarfile.FIFOTYPE),
        header("set/one", kind=tarfile.DIRTYPE),
        header("set/one", kind=tarfile.FIFOTYPE),
        header("set/one", kind=tarfile.CHRTYPE),
        header("set/one", 499),
        header("set/one", 501),
        header("set/one", 1 << 40),
    ],
    ids=lambda info: f"{info.type!r} {info.size}",
)
def test_only_an_ordinary_file_of_the_right_size_is_read(tmp_path: Path, impostor: tarfile.TarInfo) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(impostor.tobuf() + bytes(4096) + pack(tmp_path / "b.tar", FILES).read_bytes())

    with pytest.raises(DataError, match="set/one is not an ordinary file of 500 bytes"):
        read(path)


def test_a_tar_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole", FILES).read_bytes()
    end = (512 + 512) + (512 + 6144) + 512  # a header and whole blocks for each file; then only padding
    for length in [*range(0, end, 100), end - 1]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(DataError, match="get the archive again"):
            read(tmp_path / "cut")

    (tmp_path / "cut").write_bytes(whole[:end])
    assert read(tmp_path / "cut") == FILES


def test_a_gzip_cut_short_is_refused_unless_all_files_are_before_the_cut(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole", FILES, mode="w:gz").read_bytes()
    refused = 0
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        try:
            assert read(tmp_path / "cut") == FILES
        except DataError as error:
            assert "get the archive again" in str(error)  # noqa: PT017 - some cuts are harmless
            refused += 1

    assert refused > len(whole) / 2


def test_what_unpacks_huge_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar.gz", FILES, (header("set/zeros", 1 << 22), bytes(1 << 22)), mode="w:gz")
    assert path.stat().st_size < 10_000

    with pytest.raises(DataError, match="unpacks to more than it should"):
        read(path)
    assert read(path, limit=1 << 23) == FILES


def test_a_name_of_a_gigabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header("name", 1 << 30, kind=tarfile.GNUTYPE_LONGNAME).tobuf())
        file.write(bytes(1 << 22))

    with pytest.raises(DataError, match="unpacks to more than it should"):
        read(path)


def test_endless_headers_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", FILES, *[(header(f"other/{n}"), b"") for n in range(1001)])

    with pytest.raises(DataError, match="more than 1,000 other files"):
        read(path)


def test_chained_headers_are_refused(tmp_path: Path) -> None:
    """Each long-name header makes tarfile call itself."""
    path = tmp_path / "a.tar"
    path.write_bytes(header("name", 0, kind=tarfile.GNUTYPE_LONGNAME).tobuf() * 1500)

    with pytest.raises(DataError, match="cannot be read as a tar"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"\x1f\x8b" + bytes(100), b"PK\x03\x04" + bytes(600), b"no" * 999]
)
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"cannot be read as a tar or tar\.gz|lacks"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file"):
        read(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_whatever_fuzzing_found_is_refused(hostile: Path, kind: str) -> None:
    found = [path for path in sorted((hostile / kind).rglob("*")) if path.is_file()]
    assert len(found) > 100

    for path in found:
        with pytest.raises(DataError):
            read(path)
