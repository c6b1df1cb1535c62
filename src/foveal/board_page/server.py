"""The board: a local web page with the runs of a folder, their learning curves and comparisons.

The server reads and never writes. No path in an address reaches the file system: addresses contain ids, and
`RunIndex` knows which runs have them.
"""

import asyncio
import base64
import hashlib
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any, Final

from foveal import progress
from foveal.board_page.run_index import RunIndex, encode_json
from foveal.errors import MissingExtraError, RunError, UserError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "starlette", "serve") from None

DEFAULT_PORT: Final = 8765
"""The port where none is given."""
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
"""The host names that a browser on this machine may use. Refusing all others stops DNS rebinding."""
PATIENCE_SECONDS: Final = 10.0
"""How long a connection may be open without a whole request, and a browser may take no byte of an answer."""
MAX_CONNECTIONS: Final = 200
"""The number of connections beyond which the one is closed that has waited longest for a request."""
_MEDIA_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_CLOSED_POLICY: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    f"require-trusted-types-for 'script'; {_CLOSED_POLICY}"
)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def board(
    folder: str | os.PathLike[str] = "runs", *, host: str = "127.0.0.1", port: int = DEFAULT_PORT
) -> None:
    """Serve a page with the runs of a folder until Ctrl-C or SIGTERM. Print its address when it is ready.

    >>> foveal.board("nowhere")
    Traceback (most recent call last):
    foveal.errors.RunError: nowhere is no folder; foveal train DIR makes runs in the folder runs

    Args:
        folder: The folder with the runs.
        host: The host name or address to listen on. On any other than the loopback, everybody who can reach
            this machine can read the runs.
        port: The port to listen on; 0 takes any free port.

    Raises:
        RunError: There is no such folder.
        UserError: The port is taken, or the host is not this machine's.
        MissingExtraError: The extra `serve` is not installed.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended the server.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is no folder; foveal train DIR makes runs in the folder runs")
    with _listen(host, port) as listener:
        url = _format_url(host, listener.getsockname()[1])
        if not _is_loopback(host):
            progress.warn(f"whoever reaches this machine as {host} can read the runs in {root}")
        config = uvicorn.Config(
            create_application(root, hosts=_list_host_names(host)),
            log_config=None,
            log_level="error",
            access_log=False,
            http=_ImpatientProtocol,
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        _Server(config, f"board: {url}  (Ctrl-C ends it)").run(sockets=[listener])


def create_application(folder: Path, *, hosts: list[str]) -> Starlette:
    """Create the web application. It answers GET requests only, and no request writes anything.

    Args:
        folder: The folder with the runs.
        hosts: The host names that a browser may use.
    """
    index = RunIndex(folder=folder)
    page_folder = files(__package__) / "page"
    page_files = {f"board.{kind}": (page_folder / f"board.{kind}").read_bytes() for kind in _MEDIA_TYPES}
    report_policy = _make_report_policy()

    def get_page(_request: Request) -> Response:
        return _respond(page_files["board.html"], "html", _PAGE_POLICY)

    def get_page_file(request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        return _respond(page_files[name], name.rpartition(".")[2])

    def get_runs(_request: Request) -> Response:
        return _respond_json(index.build_listing())

    def get_history(request: Request) -> Response:
        return _respond_json(index.read_history(request.path_params["run_id"]))

    def get_report(request: Request) -> Response:
        content = index.read_report(request.path_params["run_id"])
        return _respond_not_found() if content is None else _respond(content, "html", report_policy)

    def get_comparison(request: Request) -> Response:
        query = request.query_params
        return _respond_json(index.compare(query.getlist("run"), query.get("split", "test")))

    return Starlette(
        routes=[
            Route("/", get_page),
            *(Route(f"/board.{kind}", get_page_file) for kind in ("css", "js")),
            Route("/api/runs", get_runs),
            Route("/api/runs/{run_id}/history", get_history),
            Route("/api/compare", get_comparison),
            Route("/runs/{run_id}/report", get_report),
        ],
        middleware=[
            Middleware(_SecurityMiddleware),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
    )


class _SecurityMiddleware:
    """Adds security headers to every response, and refuses requests that other web sites start."""

    _HEADERS: Final = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *self._HEADERS]
                if b"content-security-policy" not in {name for name, _ in headers}:
                    headers.append((b"content-security-policy", b"default-src 'none'"))
                message["headers"] = headers
            await send(message)

        site = dict(scope.get("headers", [])).get(b"sec-fetch-site", b"none")
        is_page = scope.get("path", "/") == "/"  # other sites may link to the page itself
        if site not in (b"none", b"same-origin") and not is_page:
            await Response("refused", status_code=403)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


class _ImpatientProtocol(H11Protocol):
    """Closes connections that are open and ask for nothing. Others would have to wait for them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._waits_since = time.monotonic()
        self._last_cycle: object = None
        self._n_unsent = 0
        if len(self.connections) > MAX_CONNECTIONS:
            waiting = [each for each in self.connections if isinstance(each, _ImpatientProtocol)]
            idle = [each for each in waiting if each is not self and not each._is_answering()]
            if idle:
                min(idle, key=lambda each: each._waits_since).transport.abort()
        self.loop.call_later(PATIENCE_SECONDS, self._look)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        """Close the connection if nothing has happened since the last look, else look again later."""
        if self.transport.is_closing():
            return
        n_unsent = self.transport.get_write_buffer_size()
        if self._is_answering() and not 0 < self._n_unsent <= n_unsent:
            self._waits_since = time.monotonic()
        elif self._is_answering() or self.cycle is self._last_cycle:
            self.transport.abort()
            return
        self._n_unsent, self._last_cycle = n_unsent, self.cycle
        self.loop.call_later(PATIENCE_SECONDS, self._look)


class _Server(uvicorn.Server):
    """A server that prints its address when it is ready, and ends at the first signal."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        progress.line(self._greeting)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.force_exit = True
        # A response that is cut off here is no error, so uvicorn does not log it.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def _respond(content: bytes, kind: str, policy: str | None = None) -> Response:
    headers = {} if policy is None else {"Content-Security-Policy": policy}
    return Response(content, media_type=_MEDIA_TYPES[kind], headers=headers)


def _respond_json(value: object) -> Response:
    if value is None:
        return _respond_not_found()
    return Response(encode_json(value), media_type="application/json")


def _respond_not_found() -> Response:
    return Response("not found", status_code=404, media_type="text/plain")


def _make_report_policy() -> str:
    """Return the content security policy for reports.

    A report may run the one script that sorts its tables, and nothing else. It may come from a stranger, so
    it has no origin here: it can reach neither the board nor the network.
    """
    script = (files("foveal.reporting") / "templates" / "report.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; {_CLOSED_POLICY}"
    )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UserError(f"there is no port {port}; choose one up to 65535 with --port, 0 for any")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = addresses[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # on Windows it would share a port that is taken
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with --port, 0 for any"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _list_host_names(host: str) -> list[str]:
    """List the names that a browser may use for this machine: beyond the loopback also its own."""
    names = {*LOOPBACK_NAMES, f"[{host}]" if ":" in host else host.lower()}
    if not _is_loopback(host):
        own_name = socket.gethostname()
        names.add(own_name.lower())
        try:
            addresses = {str(address[0]) for *_, address in socket.getaddrinfo(own_name, None)}
        except OSError:
            addresses = set()
        names |= {f"[{address}]" if ":" in address else address for address in addresses}
    return sorted(names)


def _format_url(host: str, port: int) -> str:
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how this machine reaches itself
    name = wildcards.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
