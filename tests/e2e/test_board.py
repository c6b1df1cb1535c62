"""The board in a real browser, served by the real command: watched, compared, attacked."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

import foveal
from foveal.board_page.run_index import make_id
from foveal.cli.main import main
from foveal.data.options import DataOptions
from foveal.evaluation.predict import load_predictions
from foveal.files.events import Trained
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EpochRecord
from foveal.run.run import record_evaluation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<img src=x onerror=alert(1)>\u202e"
"""The name of a run."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("FOVEAL_REQUIRE_DATA"):
            pytest.fail("no Chromium is installed, and .ci/run promises one")
        pytest.skip("no Chromium is installed; with one, the board is looked at in it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Served:
    """`foveal board` as a process of its own, on a port that is free."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "foveal", "board", str(folder), "--port", "0"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        greeting = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", greeting)
        assert found is not None, greeting + self.process.stderr.read()
        self.url = found[0]

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url.rstrip("/") + path, headers=headers, timeout=60)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on standard error after the greeting."""
        self.process.send_signal(number)
        out, said = self.process.communicate(timeout=20)
        assert out == ""
        return self.process.returncode, said


class Watched:
    """The board's page, what it asked for and what it complained of."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(served.url)
        expect(self.page.locator("#runs tbody tr")).not_to_have_count(0)
        self.served = served

    def close(self) -> None:
        """Close it; it asked for nothing but the board, and complained of nothing."""
        self.context.close()
        assert self.complaints == []
        assert [url for url in self.asked if not url.startswith((self.served.url, "data:"))] == []


def under_way(finished: Path, place: Path) -> RunFolder:
    """Make of a finished run one that has trained one epoch."""
    shutil.copytree(finished, place)
    for each in ("evaluation.json", "report.html"):
        (place / each).unlink()
    (place / ".writer.json").unlink(missing_ok=True)  # whoever wrote last to what all tests share
    lines = (place / "events.jsonl").read_text("utf-8").splitlines(keepends=True)
    begun = [json.loads(line)["event"] for line in lines].index("training")
    (place / "events.jsonl").write_text("".join(lines[: begun + 1]), "utf-8")
    run = RunFolder(place)
    run.cut_history(1)
    return run


@pytest.fixture(scope="module")
def folder(
    few_digits: Path, small: tuple[str, ...], finished: Path, tmp_path_factory: Any, cache: Path
) -> Path:
    """Finished runs, two groups of two, one in progress, a damaged one and one with a hostile name."""
    from foveal.experiments.repeat import repeat

    runs: Path = tmp_path_factory.mktemp("board") / "runs"
    for name in ("first", "second", HOSTILE):
        shutil.copytree(finished, runs / name)
    for name, epochs in (("short", 1), ("longer", 2)):
        settings = [*small, f"epochs={epochs}"]
        data = DataOptions(few_digits, cache=cache)
        repeat(data, runs=2, recipe="model-s-02", settings=settings, out=runs / name)
    under_way(finished, runs / "watched")
    (runs / "broken").mkdir()
    (runs / "broken" / "recipe.json").write_text('{"name": "<script>alert(2)</script>"')
    return runs


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    board = Served(folder)
    yield board
    code, said = board.end()
    assert (code, said) == (143, "foveal: terminated\n")


def test_the_list_sorts_and_links_to_reports(browser: Browser, served: Served) -> None:
    watched = Watched(browser, served)
    page = watched.page
    names = page.locator("#runs tbody th bdi")
    expect(names).to_have_count(9)
    expect(page.locator("#status")).to_have_text("9 runs, 1 in progress")
    assert page.locator("#runs th[aria-sort=descending]").inner_text() == "Begun"
    button = page.locator("#runs").get_by_role("button", name="Run")
    button.click()
    assert names.all_inner_texts() == sorted(names.all_inner_texts(), key=str.lower)
    button.press("Enter")  # by keyboard, too
    assert names.all_inner_texts() == sorted(names.all_inner_texts(), key=str.lower, reverse=True)
    page.locator("#runs").get_by_role("button", name="Validation").click()
    shown = page.locator("#runs tbody tr td:nth-child(5)").all_inner_texts()
    figures = [float(text.split()[0]) for text in shown if text != "–"]
    assert figures == sorted(figures, reverse=True)
    assert shown[-1] == "–"  # the damaged one
    with watched.context.expect_page() as opened:
        page.get_by_role("link", name="Report of first").click()
    report = opened.value
    complaints: list[str] = []
    report.on("console", lambda message: complaints.append(message.text))
    report.wait_for_url("**/report*")  # the sandboxed page gets a process of its own first
    report.wait_for_load_state("load")
    report.reload()
    assert "Foveal" in report.title()
    report.locator("#measured table.sortable").get_by_role("button", name="Recall").click()  # its script runs
    assert complaints == []
    assert report.evaluate("window.origin") == "null"  # and has no part in the board
    report.close()
    watched.close()


def test_a_run_in_progress_gains_points_while_one_watches(
    browser: Browser, served: Served, folder: Path
) -> None:
    run = RunFolder(folder / "watched")
    (first,) = run.history()
    watched = Watched(browser, served)
    page = watched.page
    box = page.get_by_role("checkbox", name="Choose first")
    box.focus()
    curve = page.locator("#live .validation .curve").first
    expect(curve).to_have_attribute("points", re.compile(r"^\S+$"))
    for epoch in (2, 3):
        later: EpochRecord = replace(first, epoch=epoch, validation_accuracy=0.9 + epoch / 100)
        run.add_epoch(later)
        expect(curve).to_have_attribute("points", re.compile(rf"^\S+( \S+){{{epoch - 1}}}$"))
    expect(page.locator("#live .card p")).to_contain_text("training, epoch 3")
    label = page.locator("#live svg").last.get_attribute("aria-label")
    assert label is not None
    assert label.endswith("validation 93.00 % at epoch 3")
    expect(box).to_be_focused()  # what is renewed leaves the rest alone
    assert page.locator("#selected").is_hidden()
    box.check()
    expect(page.locator("#selected svg")).to_have_count(2)
    run.add_event(Trained(stopped="finished", seconds=1.5, steps=9))
    expect(page.locator("#live")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("9 runs")
    watched.close()
    under_way(folder / "first", folder / "new")
    shutil.rmtree(folder / "watched")
    (folder / "new").rename(folder / "watched")


def test_runs_and_groups_are_compared(
    browser: Browser, served: Served, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(browser, served)
    page = watched.page
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    page.get_by_role("checkbox", name="Choose first").check()
    expect(compare).to_be_disabled()
    page.get_by_role("checkbox", name="Choose second").check()
    compare.click()
    expect(page.locator("#comparison li")).to_contain_text("cannot be told apart", timeout=60_000)
    assert page.locator("#comparison tbody tr").count() == 2
    names = page.locator("#comparison tbody th").all_inner_texts()
    assert main(["compare", *(str(folder / name) for name in names)]) == 0
    told = capsys.readouterr().out
    for sentence in page.locator("#comparison li").all_inner_texts():
        assert sentence in told
    assert "another seed would give another model" in page.locator("#comparison").inner_text()

    page.get_by_role("checkbox", name="Choose short", exact=True).check()
    compare.click()
    expect(page.locator("#comparison .outcome")).to_contain_text("cannot be compared with each other")
    for name in ("first", "second"):
        page.get_by_role("checkbox", name=f"Choose {name}").uncheck()
    page.get_by_role("checkbox", name="Choose longer", exact=True).check()
    compare.click()
    expect(page.locator("#comparison li")).to_contain_text("recipe")
    assert page.locator("#comparison thead th").first.inner_text() == "group"

    for name in ("short", "longer"):
        page.get_by_role("checkbox", name=f"Choose {name}", exact=True).uncheck()
    for name in ("first", "watched"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    compare.click()
    expect(page.locator("#comparison .outcome")).to_contain_text("has not been evaluated")
    watched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    browser: Browser, served: Served, width: int, scheme: Any
) -> None:
    watched = Watched(browser, served, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = watched.page
    for name in ("first", "second"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#comparison li")).to_have_count(1)
    expect(page.locator("svg")).to_have_count(6)
    if place := os.environ.get("FOVEAL_SCREENSHOTS"):
        page.screenshot(path=Path(place) / f"board-{scheme}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = Axe().run(page).response["violations"]
    assert {(each["id"], node["html"][:200]) for each in broken for node in each["nodes"]} == set()
    watched.close()


def test_hostile_names_stay_text(browser: Browser, served: Served) -> None:
    watched = Watched(browser, served)
    page = watched.page
    shown = "<img src=x onerror=alert(1)>\\u202e"
    expect(page.locator("#runs").get_by_text(shown)).to_have_count(1)
    page.get_by_role("checkbox", name=f"Choose {shown}").check()
    page.get_by_role("checkbox", name="Choose first").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#comparison li")).to_contain_text(shown)
    expect(page.locator("#selected h3").get_by_text(shown)).to_have_count(1)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    watched.close()


def test_hostile_classes_stay_text(
    browser: Browser, few_digits: Path, small: tuple[str, ...], cache: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(few_digits, tmp_path / "data")
    for split in ("train", "test"):
        (data / split / "0").rename(data / split / HOSTILE)
    runs = tmp_path / "runs"
    options = DataOptions(data, cache=cache)
    run = foveal.train(options, recipe="model-s-02", settings=small, out=runs / "right")
    evaluation = run.evaluate("test")
    shutil.copytree(run.path, runs / "wrong")
    _, labels = load_predictions(run.folder.predictions, "test", n=evaluation.n, classes=3)
    correct = np.eye(3, dtype=np.float32)[labels]
    record_evaluation(run, "test", correct)
    record_evaluation(foveal.Run(runs / "wrong"), "test", -correct)
    board = Served(runs)
    watched = Watched(browser, board)
    page = watched.page
    for name in ("right", "wrong"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    page.get_by_role("button", name="Compare").click()
    shown = "<img src=x onerror=alert(1)>\\u202e"
    expect(page.get_by_role("region", name="Classes").get_by_text(shown)).to_have_count(1)
    expect(page.locator("#comparison li")).to_contain_text(re.compile("is (worse|better) than"))
    assert page.locator("img").count() == 0
    watched.close()
    assert board.end() == (143, "foveal: terminated\n")


def test_strangers_get_nothing(served: Served, folder: Path) -> None:
    key = make_id("first")
    assert served.get("/api/runs").status_code == 200
    assert served.get(f"/runs/{key}/report").status_code == 200
    assert served.get("/api/runs", Host="rebound.example").status_code == 400
    assert served.get("/", Host="rebound.example:80").status_code == 400
    assert served.get("/api/runs", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert served.get("/api/runs", Host=f"localhost:{served.url.split(':')[2].strip('/')}").status_code == 200
    (folder.parent / "secret").write_text("secret")
    for path in (
        "/runs/000000000000/report",
        "/runs/../secret/report",
        "/runs/..%2f..%2fsecret/report",
        "/runs/first/report",
        f"/runs/{key}/recipe.json",
        f"/runs/{key}/../../secret",
        "/api/runs/../history",
        "/api/runs/first/history",
        "/api/compare?run=first&run=second",
        f"/api/compare?run={key}&run={key}&split=train",
        "/board.html",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/page/board.js",
    ):
        found = raw(served, path)
        assert found.startswith(b"HTTP/1.1 404"), path
        assert b"secret" not in found
    (folder / "second" / "report.html").rename(folder / "kept")
    (folder / "second" / "report.html").symlink_to(folder.parent / "secret")
    assert served.get(f"/runs/{make_id('second')}/report").status_code == 404
    (folder / "kept").replace(folder / "second" / "report.html")
    assert served.get(f"/runs/{make_id('second')}/report").status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert httpx.request(method, served.url + "api/runs").status_code == 405
    policy = served.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (
        served.get(f"/runs/{key}/report")
        .headers["content-security-policy"]
        .startswith("sandbox allow-scripts;")
    )


def raw(served: Served, path: str) -> bytes:
    """Ask for a path as it is; clients would tidy it up."""
    port = int(served.url.split(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("number", "code", "line"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_it_ends_at_once(folder: Path, number: int, code: int, line: str) -> None:
    board = Served(folder)
    keys = [make_id(name) for name in ("first", "second")]
    query = f"GET /api/compare?run={keys[0]}&run={keys[1]} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    port = int(board.url.split(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(query.encode())  # its first comparison imports for a second or two
        time.sleep(0.3)
        began = time.monotonic()
        assert board.end(number) == (code, f"foveal: {line}\n")
        assert time.monotonic() - began < 10


def test_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["board", str(folder), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"port {port}" in said
    assert "choose another with --port" in said
    for words in (["--port", "99999"], ["--host", "nowhere.invalid"]):
        assert main(["board", str(folder), *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["board", str(folder / "missing")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_without_the_extra(folder: Path) -> None:
    code = (
        "import sys\nsys.modules['uvicorn'] = None\nfrom foveal.cli.main import main\n"
        f"sys.exit(main(['board', {str(folder)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == "foveal: this needs the package uvicorn: pip install 'foveal[serve]'\n"
