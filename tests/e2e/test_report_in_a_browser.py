"""The report in a real browser: it asks for nothing else, fits a phone, and shows its pictures."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

HARNESS = """<!doctype html><title>harness</title><body><script>
const widths = [390, 1200], found = [];
function measure(width) {
  return new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.style.width = width + "px"; frame.style.height = "800px";
    frame.onload = () => {
      const page = frame.contentDocument;
      found.push({
        width, scroll: page.documentElement.scrollWidth,
        pictures: [...page.querySelectorAll("svg, img")]
          .filter((picture) => picture.getBoundingClientRect().width > 100).length,
        scripts: page.scripts.length, title: page.title, headings: page.querySelectorAll("h1").length,
      });
      done();
    };
    frame.src = "report.html"; document.body.append(frame);
  });
}
(async () => { for (const width of widths) await measure(width);
  document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>"; })();
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(finished: Path, tmp_path: Path) -> Iterator[str]:
    """The report and a page that measures it, on a server of this machine."""
    shutil.copy(finished / "report.html", tmp_path)
    (tmp_path / "harness.html").write_text(HARNESS)
    Handler.asked.clear()
    handler = functools.partial(Handler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_report_in_chromium(served: str, tmp_path: Path) -> None:
    if CHROMIUM is None:
        if os.environ.get("FOVEAL_REQUIRE_DATA"):
            pytest.fail("no Chromium is installed, and .ci/run promises one")
        pytest.skip("no Chromium is installed; with one, the report is looked at in it")
    dom = subprocess.run(
        [
            CHROMIUM,
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
            ),
            *("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--virtual-time-budget=10000", "--dump-dom", f"{served}/harness.html"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    match = re.search(r"<pre>(.*)</pre>", dom)
    assert match, dom[-500:]
    measured = json.loads(match[1])
    assert [each["width"] for each in measured] == [390, 1200]
    for each in measured:
        assert each["scroll"] <= each["width"], "the page must not scroll sideways"
        assert each["pictures"] == 3
        assert each["headings"] == 1
        assert each["scripts"] == 0
        assert each["title"]
    assert set(Handler.asked) <= {"/harness.html", "/report.html", "/favicon.ico"}
