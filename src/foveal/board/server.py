"""The board: a local page with the runs of a folder, their curves while they train, and comparisons.

It reads and never writes. No path in an address reaches the file system: runs are asked for by ids, and
`known.Known` has those that there are.
"""

import base64
import hashlib
import ipaddress
import logging
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any, Final

from foveal import progress
from foveal.board.run_index import Known, as_json
from foveal.errors import MissingExtraError, RunError, UserError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "starlette", "serve") from None

PORT: Final = 8765
LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
"""What a browser on this machine may call it. Every other name is refused, and with it a page elsewhere whose
name was made to lead here."""
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_CLOSED: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    f"require-trusted-types-for 'script'; {_CLOSED}"
)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def board(folder: str | os.PathLike[str] = "runs", *, host: str = "127.0.0.1", port: int = PORT) -> None:
    """Serve a page with the runs of a folder until Ctrl-C or SIGTERM; the address is said when it is up.

    Args:
        folder: where the runs lie.
        host: where to listen. Another than the loopback lets whoever reaches this machine read the runs.
        port: 0 takes any that is free.

    Raises:
        RunError: there is no such folder.
        UserError: the port is taken, or the host is not this machine's.
        MissingExtraError: the extra `serve` is not installed.
        KeyboardInterrupt: it was ended.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is no folder; foveal train DIR makes runs in the folder runs")
    with _listen(host, port) as listening:
        address = _address(host, listening.getsockname()[1])
        if not _is_loopback(host):
            progress.warn(f"whoever reaches this machine as {host} can read the runs in {root}")
        config = uvicorn.Config(
            application(root, hosts=_names(host)),
            log_config=None,
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        _Server(config, f"board: {address}  (Ctrl-C ends it)").run(sockets=[listening])


def application(folder: Path, *, hosts: list[str]) -> Starlette:
    """Make the web application: every answer is a GET's, and none of them writes anything.

    `hosts` are the names that a browser may call it by.
    """
    known = Known(folder=folder)
    here = files(__package__) / "page"
    parts = {f"board.{kind}": (here / f"board.{kind}").read_bytes() for kind in _TYPES}
    report_policy = _report_policy()

    def page(_request: Request) -> Response:
        return _answer(parts["board.html"], "html", _PAGE_POLICY)

    def part(request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        return _answer(parts[name], name.rpartition(".")[2])

    def runs(_request: Request) -> Response:
        return _json(known.listing())

    def history(request: Request) -> Response:
        return _json(known.history(request.path_params["key"]))

    def report(request: Request) -> Response:
        content = known.report(request.path_params["key"])
        return _unknown() if content is None else _answer(content, "html", report_policy)

    def compare(request: Request) -> Response:
        query = request.query_params
        return _json(known.comparison(query.getlist("run"), query.get("split", "test")))

    return Starlette(
        routes=[
            Route("/", page),
            *(Route(f"/board.{kind}", part) for kind in ("css", "js")),
            Route("/api/runs", runs),
            Route("/api/runs/{key}/history", history),
            Route("/api/compare", compare),
            Route("/runs/{key}/report", report),
        ],
        middleware=[
            Middleware(_Guard),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
    )


class _Guard:
    """Give every answer the headers that close it, and refuse what pages elsewhere ask for."""

    _HEADERS: Final = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        async def closed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *self._HEADERS]
                if b"content-security-policy" not in {name for name, _ in headers}:
                    headers.append((b"content-security-policy", b"default-src 'none'"))
                message["headers"] = headers
            await send(message)

        site = dict(scope.get("headers", [])).get(b"sec-fetch-site", b"none")
        if (
            site not in (b"none", b"same-origin") and scope.get("path", "/") != "/"
        ):  # the page may be linked to
            await Response("refused", status_code=403)(scope, receive, closed)
            return
        await self._app(scope, receive, closed)


class _Server(uvicorn.Server):
    """Says where it is once it is up, and ends at the first signal."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        progress.line(self._greeting)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.force_exit = True
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # an answer broken off is no defect


def _answer(content: bytes, kind: str, policy: str | None = None) -> Response:
    headers = {} if policy is None else {"Content-Security-Policy": policy}
    return Response(content, media_type=_TYPES[kind], headers=headers)


def _json(value: object) -> Response:
    return _unknown() if value is None else Response(as_json(value), media_type="application/json")


def _unknown() -> Response:
    return Response("not found", status_code=404, media_type="text/plain")


def _report_policy() -> str:
    """Let a report show itself and run the script that sorts its tables, and nothing else.

    It may come from a stranger: it has no origin here, and reaches neither the board nor anything outside.
    """
    script = (files("foveal.reporting") / "templates" / "report.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; {_CLOSED}"
    )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UserError(f"there is no port {port}; choose one up to 65535 with --port, 0 for any")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # elsewhere it would share a port that is taken
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen()
        except BaseException:
            listening.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {host}, port {port}: {why}; choose another with --port, 0 for any"
        ) from error
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(host: str) -> list[str]:
    """Say what a browser may call this machine: beyond the loopback also its own name and addresses."""
    names = {*LOCAL, f"[{host}]" if ":" in host else host.lower()}
    if not _is_loopback(host):
        own = socket.gethostname()
        names.add(own.lower())
        try:
            found = {str(place[0]) for *_, place in socket.getaddrinfo(own, None)}
        except OSError:
            found = set()
        names |= {f"[{each}]" if ":" in each else each for each in found}
    return sorted(names)


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - as it is reached from here
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
