"""How soon a report shows itself: first contentful paint in headless Chromium, and the page's size.

    foveal report runs/some-run
    python benchmarks/page.py runs/some-run/report.html --runs 5

Needs playwright and Chromium. Prints a line a run; nothing is kept.
"""

import argparse
import shutil
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

PAINTED = (
    "new Promise((done) => new PerformanceObserver((list) => done(list.getEntriesByName("
    "'first-contentful-paint')[0].startTime)).observe({type: 'paint', buffered: true}))"
)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    found = []
    with sync_playwright() as playwright:
        for _ in range(asked.runs):
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page()
            page.goto(asked.page.resolve().as_uri())
            found.append(float(page.evaluate(PAINTED)))
            browser.close()
            print(f"first contentful paint after {found[-1]:.0f} ms")
    size = asked.page.stat().st_size
    spread = f"{min(found):.0f} to {max(found):.0f}, n = {len(found)}"
    print(f"median {median(found):.0f} ms ({spread}), {size:,} bytes")


if __name__ == "__main__":
    main()
