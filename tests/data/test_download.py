import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from foveal.data.download import download, has_digest
from foveal.errors import OutsideError

CONTENT = random.Random(7).randbytes(1_500_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Server:
    """A server on this machine whose manners a test can choose."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    """Whether it understands Range."""
    breaks: list[int] = field(default_factory=list)
    """After how many bytes it closes the connection, answer by answer."""
    answers: list[int] = field(default_factory=list)
    """Which errors it answers first."""
    shift: int = 0
    """How far from what was asked for its parts begin."""
    length: bool = True
    """Whether it says how much it is going to send."""
    asked: list[str | None] = field(default_factory=list)
    """The Range of each request."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    manners = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            manners.asked.append(asked)
            if manners.answers:
                self.send_error(manners.answers.pop(0))
                return
            start = 0
            if asked and manners.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-")) + manners.shift
                if start >= len(manners.content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(manners.content) - 1}/{len(manners.content)}"
                )
            else:
                self.send_response(200)
            body = manners.content[start:]
            if manners.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if manners.breaks:
                body = body[: manners.breaks.pop(0)]
            with suppress(ConnectionError):  # a client that has seen enough hangs up
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        manners.url = f"http://127.0.0.1:{running.server_address[1]}/file.tar.gz"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield manners
        running.shutdown()
        thread.join()


def fetch(server: Server, target: Path, *, max_bytes: int = 1 << 24) -> None:
    download(server.url, target, md5=MD5, max_bytes=max_bytes, advice="use --archive FILE", pause=0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.tar.gz"


def part(target: Path) -> Path:
    return target.with_name("file.tar.gz.part")


def test_a_file_arrives_whole(server: Server, target: Path) -> None:
    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.tar.gz"]
    assert has_digest(target, MD5)
    assert not has_digest(target, "0" * 32)


def test_a_length_that_is_not_told_does_not_matter(server: Server, target: Path) -> None:
    server.length = False

    fetch(server, target)

    assert target.read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, target: Path) -> None:
    server.breaks = [700_000, 0, 300_000]

    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=700000-", "bytes=700000-", "bytes=1000000-"]


def test_what_an_earlier_run_left_is_taken_up(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT[:123_456])

    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert server.asked == ["bytes=123456-"]


def test_a_complete_part_needs_no_server(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT)

    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert server.asked == []


def test_a_server_without_ranges_is_asked_from_the_start(server: Server, target: Path) -> None:
    server.ranges = False
    server.breaks = [1_400_000]

    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1400000-"]


def test_nothing_of_a_longer_part_stays(server: Server, target: Path) -> None:
    part(target).write_bytes(bytes(len(CONTENT) + 1))
    server.ranges = False

    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("left", [b"another beginning", bytes(len(CONTENT)), bytes(len(CONTENT) + 1)])
def test_a_part_of_something_else_is_thrown_away(server: Server, target: Path, left: bytes) -> None:
    part(target).write_bytes(left)

    fetch(server, target)

    assert target.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(left)}-", None]


def test_a_wrong_part_is_not_believed(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT[:1000])
    server.shift = 1

    with pytest.raises(OutsideError, match="another part than was asked for"):
        fetch(server, target)

    assert part(target).read_bytes() == CONTENT[:1000]


def test_passing_faults_are_waited_out(server: Server, target: Path) -> None:
    server.answers = [503, 429, 500]

    fetch(server, target)

    assert target.read_bytes() == CONTENT


def test_after_five_breaks_it_says_how_to_go_on_and_keeps_what_it_has(server: Server, target: Path) -> None:
    server.breaks = [200_000] * 5

    with pytest.raises(
        OutsideError, match=r"run the same again to go on after 1,000,000 bytes, or use --arch"
    ):
        fetch(server, target)
    assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:1_000_000]

    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000000-"


def test_a_break_after_much_is_not_counted(server: Server, target: Path) -> None:
    server.breaks = [1 << 20, 0, 0, 0, 0]

    fetch(server, target)

    assert target.read_bytes() == CONTENT


def test_a_refusal_is_final(server: Server, target: Path) -> None:
    server.answers = [404]

    with pytest.raises(OutsideError, match=r"answers 404 Not Found; use --archive FILE"):
        fetch(server, target)

    assert len(server.asked) == 1


def test_another_file_is_refused(server: Server, target: Path) -> None:
    server.content = CONTENT[:-1] + b"?"

    with pytest.raises(OutsideError, match=f"is not the file with the md5 {MD5}"):
        fetch(server, target)

    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("length", [True, False])
def test_more_than_the_limit_is_refused(server: Server, target: Path, length: bool) -> None:
    server.length = length

    with pytest.raises(OutsideError, match="sends more than 1,000,000 bytes"):
        fetch(server, target, max_bytes=1_000_000)

    assert list(target.parent.iterdir()) == []


def test_nobody_there_is_said(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as gone:
        port = gone.server_address[1]

    with pytest.raises(
        OutsideError, match=r"127\.0\.0\.1 broke off 5 times \(.*refused.*\); run the same again"
    ):
        fetch(Server(url=f"http://127.0.0.1:{port}/file.tar.gz"), target)


def test_a_folder_that_is_gone_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="cannot write"):
        fetch(server, tmp_path / "gone" / "file.tar.gz")
