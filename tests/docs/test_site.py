"""The documentation site: complete, built without network, usable on a phone and with the keyboard alone."""

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

import foveal
from foveal.cli.main import build_parser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BUILD = """
import socket, sys
def refuse(*_):
    raise OSError("the documentation must be built without network")
socket.socket.connect = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(["build", "--strict", "--quiet", "--site-dir", sys.argv[1]])
"""
PAGES = (
    "index.html",
    "guides/comparing.html",
    "commands/train.html",
    "python/functions.html",
    "contract.html",
)


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly and without network."""
    folder = tmp_path_factory.mktemp("site") / "site"
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Requests(HTMLParser):
    """What a browser fetches by itself for a page, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.urls += [values[name] for name in ("src", "srcset") if name in values]
        if tag == "link" and values.get("rel") != "canonical":
            self.urls.append(values["href"])


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        for url in Requests(page.read_text()).urls:
            assert not re.match(r"(\w+:)?//", url), (page, url)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_every_command_has_a_page_with_every_option(site: Path) -> None:
    overview = (site / "commands" / "index.html").read_text()
    parsers = [
        (name, parser)
        for action in build_parser()._actions
        for name, parser in (action.choices or {}).items()
    ]
    assert len(parsers) >= 12
    for name, parser in parsers:
        if name == "data":
            name, parser = "data-get", parser._subparsers._group_actions[0].choices["get"]
        page = (site / "commands" / f"{name}.html").read_text()
        assert f'href="{name}.html"' in overview
        for action in parser._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                assert re.search(rf"<td><code>{option}\b", page), (name, option)


def test_every_public_name_is_described(site: Path) -> None:
    anchors = {
        anchor.rpartition(".")[2]
        for page in (site / "python").glob("*.html")
        for anchor in Requests(page.read_text()).anchors
        if anchor.startswith("foveal.")
    }
    assert set(foveal.__all__) - {"__version__"} <= anchors


def test_examples_in_docstrings_are_code(site: Path) -> None:
    pages = [page.read_text() for page in (site / "python").glob("*.html")]
    assert sum(page.count("&gt;&gt;&gt;") for page in pages) > 20
    assert not any("<blockquote>" in page for page in pages)


def test_every_decision_is_in_the_navigation(site: Path, root: Path) -> None:
    index = (site / "decisions" / "index.html").read_text()
    for decision in (root / "docs" / "decisions").glob("*.md"):
        assert f'href="{decision.stem}.html"' in index


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address of a server that shows the site."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("FOVEAL_REQUIRE_DATA"):
            pytest.fail("no Chromium is installed, and .ci/run promises one")
        pytest.skip("no Chromium is installed; with one, the site is looked at in it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_kind_of_page_fits_and_can_be_read(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    urls: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in PAGES if width > 1000 else PAGES[1::2]:
        page.goto(address + path)
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0, path
        violations = Axe().run(page).response["violations"]
        serious = [each for each in violations if each["impact"] in ("serious", "critical")]
        assert serious == [], path
    context.close()
    assert complaints == []
    assert [url for url in urls if not url.startswith((address, "data:"))] == []


def test_the_keyboard_reaches_the_menu_on_a_phone(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address + "index.html")
    focused = []
    for _ in range(6):
        page.keyboard.press("Tab")
        name = "document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
        focused.append(page.evaluate(name))
        if focused[-1] == "Menu":
            break
    assert focused[0] == "Skip to content"
    assert focused[-1] == "Menu"
    assert not page.locator("#__drawer").is_checked()
    page.keyboard.press("Enter")
    assert page.locator("#__drawer").is_checked()
    page.close()


def test_the_keyboard_reaches_every_section_and_the_search(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(address + "index.html")
    focused = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        focused.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Guides", "Commands", "Python", "Measured", "Decisions", "Project"} <= focused
    page.keyboard.press("/")
    page.keyboard.type("budget")
    page.locator(".md-search-result__link").first.wait_for()
    page.close()
