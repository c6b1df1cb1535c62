"""How soon a report is visible: first contentful paint in headless Chromium, and the page's size.

    foveal report runs/some-run
    python -m benchmarks.speed.page runs/some-run/report.html --runs 5

Needs playwright and Chromium. Prints one line for each run; nothing is kept.
"""

import shutil
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

from benchmarks.measurement.command_line import create_parser

FIRST_PAINT_SCRIPT = (
    "new Promise((done) => new PerformanceObserver((list) => done(list.getEntriesByName("
    "'first-contentful-paint')[0].startTime)).observe({type: 'paint', buffered: true}))"
)


def main() -> None:
    """Measure and print."""
    parser = create_parser(__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    times = []
    with sync_playwright() as playwright:
        for _ in range(args.runs):
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page()
            page.goto(args.page.resolve().as_uri())
            times.append(float(page.evaluate(FIRST_PAINT_SCRIPT)))
            browser.close()
            print(f"first contentful paint after {times[-1]:.0f} ms")
    size = args.page.stat().st_size
    spread = f"{min(times):.0f} to {max(times):.0f}, n = {len(times)}"
    print(f"median {median(times):.0f} ms ({spread}), {size:,} bytes")


if __name__ == "__main__":
    main()
