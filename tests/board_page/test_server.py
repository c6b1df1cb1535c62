"""The board's server is patient with nobody who asks for nothing."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
CODE = """
import sys
from foveal.board_page import server
server.PATIENCE_SECONDS, server.MAX_CONNECTIONS = 0.5, 20
server.board(sys.argv[1], port=0)
"""
REQUEST = b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a board that waits for half a second, and has places for twenty."""
    (tmp_path / "runs").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, tmp_path / "runs"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())
    assert found is not None
    yield int(found[1])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def is_closed(connection: socket.socket) -> bool:
    """Wait until the board closes a connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /api/runs HTTP/1.1\r\nHost: loc",
        REQUEST + b"GET / HT",
        b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nslow",
    ],
    ids=["nothing", "half a request", "one and a half", "a body that never ends"],
)
def test_a_request_that_does_not_come_is_not_waited_for(port: int, begin: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(begin)
        assert is_closed(connection)


def test_a_trickle_is_not_waited_for(port: int) -> None:
    with connect(port) as connection:
        n_sent = 0
        try:
            for byte in REQUEST[:-1] * 10:
                connection.sendall(bytes([byte]))
                n_sent += 1
                time.sleep(0.1)
        except OSError:
            pass
    assert n_sent < len(REQUEST)  # some ten in half a second or a second; three hundred were to come


def test_idle_connections_keep_nobody_out(port: int) -> None:
    idle = [connect(port) for _ in range(60)]
    for connection in idle:
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
    with connect(port) as connection:
        for _ in range(2):  # on the same connection
            connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 OK")
    for connection in idle:
        connection.close()
