"""The report in a real browser: clicked through, looked at by axe, on a phone, in the dark, printed."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from foveal.evaluation import calibration, metrics
from foveal.evaluation.roc import compute_class_curves
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import DatasetRecord, EnvironmentRecord, EpochRecord, SplitRecord
from foveal.models import registry
from foveal.recipe import builtin
from foveal.reporting import gallery, report_files
from foveal.reporting.report import Report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("FOVEAL_REQUIRE_DATA"):
            pytest.fail("no Chromium is installed, and .ci/run promises one")
        pytest.skip("no Chromium is installed; with one, the report is looked at in it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Watched:
    """A page, what it asked for and what it complained of."""

    def __init__(self, browser: Browser, report: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(report.as_uri())
        self.report = report

    def close(self) -> None:
        """Close it; it asked for nothing but the file, and complained of nothing."""
        self.context.close()
        assert self.complaints == []
        outside = [url for url in self.asked if not url.startswith("data:")]
        assert {url.partition("#")[0] for url in outside} == {self.report.as_uri()}


def write_noisy_report(folder: Path, *, classes: int, n: int) -> Path:
    """Write a report on n noisy test images of so many classes, as a real run would."""
    random = np.random.default_rng(0)
    names = [f"class_{k:04}" for k in range(classes)]
    labels = np.arange(2 * n) % classes
    logits = random.normal(size=(2 * n, classes)).astype(np.float32) * 2
    logits[np.arange(2 * n), labels] += 4
    thresholds = calibration.choose_thresholds(
        logits[:n], labels[:n], calibration.fit_temperature(logits[:n], labels[:n])
    )
    test = metrics.evaluate(logits[n:], labels[n:], names, split="test", thresholds=thresholds)
    p = calibration.softmax(logits[n:])
    pixels = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)  # noise: nothing compresses worse
    network = registry.build_network(builtin.sprint().model, size=32, channels=3, classes=classes, seed=0)
    registry.prepare_network(network, torch.from_numpy(pixels[:100]))
    paths = [f"test/{names[label]}/{i:05}.png" for i, label in enumerate(labels[n:].tolist())]
    images = gallery.ImageSet(pixels=pixels, labels=labels[n:], paths=paths, classes=names)
    rows = np.arange(n)
    shown = gallery.build_gallery(images, rows, p, network=network, training=rows[:300])
    counts = np.bincount(labels[n:], minlength=classes).tolist()
    run_folder = RunFolder.create(
        folder,
        recipe=builtin.sprint().to_json(),
        dataset=DatasetRecord(
            fingerprint="3f1c" * 16,
            classes=tuple(names),
            rule="train trains, test tests",
            splits={split: SplitRecord(n=n, classes=tuple(counts), files=()) for split in SPLITS},
            left_out=(),
        ),
        environment=EnvironmentRecord(
            foveal="0",
            seed=0,
            threads=2,
            data="data",
            validation=None,
            group=None,
            share=None,
            cache=None,
            own_augmentation=False,
        ),
    )
    record = EpochRecord(
        epoch=1, step=9, learning_rate=1, loss=1, accuracy=0.5, validation_loss=1, validation_accuracy=0.5
    )
    report = Report.from_run(
        run_folder, test=test, curves=compute_class_curves(p, labels[n:], names), gallery=shown, layers=()
    )
    return report_files.write_report(replace(report, history=[record, record]), run_folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, 300 images: what axe looks at, as it takes its time for every element."""
    return write_noisy_report(tmp_path_factory.mktemp("small") / "run", classes=10, n=300)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As large as CIFAR-10's: ten classes, 10,000 images."""
    return write_noisy_report(tmp_path_factory.mktemp("large") / "run", classes=10, n=10_000)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand classes, 5,000 images."""
    return write_noisy_report(tmp_path_factory.mktemp("many") / "run", classes=1000, n=5000)


def test_a_cell_of_the_matrix_opens_the_images_behind_it(browser: Browser, large: Path) -> None:
    watched = Watched(browser, large, viewport={"width": 1200, "height": 900})
    page = watched.page
    numbers = json.loads((large.parent / "evaluation.json").read_text("utf-8"))
    assert page.locator(".cell:visible").count() == 0
    for cell in numbers["gallery"]["cells"][:5]:
        link = page.locator(f'a[href="#cell-{cell["label"]}-{cell["predicted"]}"]')
        assert link.inner_text() == str(cell["n"])
        link.click()
        shown = page.locator(".cell:visible")
        assert shown.count() == 1
        tiles = shown.locator(".tile")
        assert tiles.count() == len(cell["images"]) == 12
        for place, image in enumerate(cell["images"]):
            assert numbers["gallery"]["images"][image]["path"] in str(
                tiles.nth(place).get_attribute("aria-label")
            )
        assert "The 12 it was surest of" in shown.inner_text()
    # The tile is the picture of that image, not of another: cut out of the sheet where the style says.
    box = page.locator(".worst .tile.big").first.bounding_box()
    assert box is not None
    assert box["width"] == box["height"] == 80
    watched.close()


def test_tables_sort_both_ways(browser: Browser, large: Path) -> None:
    watched = Watched(browser, large, viewport={"width": 1200, "height": 900})
    page = watched.page
    table = page.locator("#measured table.sortable")
    button = table.get_by_role("button", name="Recall")

    def column() -> list[float]:
        cells = table.locator("tbody tr td:nth-child(4)").all_inner_texts()
        return [float(text.split()[0].rstrip("%").replace("\u00a0%", "")) for text in cells]

    before = column()
    button.click()
    assert column() == sorted(before)
    assert table.locator("th[aria-sort=ascending]").inner_text() == "Recall"
    button.press("Enter")  # by keyboard, too
    assert column() == sorted(before, reverse=True)
    assert table.locator("th[aria-sort]").count() == 1
    table.get_by_role("button", name="Class").click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names)
    watched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    browser: Browser, small: Path, width: int, scheme: Any
) -> None:
    watched = Watched(browser, small, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("a[href^='#cell-']").first.click()
    page.locator("details").evaluate_all("all => all.forEach((each) => each.open = true)")
    broken = Axe().run(page).response["violations"]
    assert {(each["id"], node["html"][:200]) for each in broken for node in each["nodes"]} == set()
    watched.close()


def test_size_and_first_paint(browser: Browser, large: Path, many: Path) -> None:
    for report in (large, many):
        assert report.stat().st_size < 5_000_000
        watched = Watched(browser, report, viewport={"width": 1200, "height": 900})
        painted = watched.page.evaluate(
            "new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime))"
            ".observe({type: 'paint', buffered: true}))"
        )
        assert painted > 0  # `benchmarks/speed/page.py` measures how soon
        watched.close()


def test_a_thousand_classes_are_readable(browser: Browser, many: Path) -> None:
    watched = Watched(browser, many, viewport={"width": 390, "height": 900})
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".confusion-matrix svg").count() == 1
    assert page.locator("table.matrix").count() == 0
    page.get_by_text(re.compile(r"The \d+ most frequent errors")).click()
    page.locator("#errors li a").first.click()
    assert page.locator(".cell:visible .tile").count() >= 1
    watched.close()


def test_printed_it_shows_all_and_needs_no_script(browser: Browser, small: Path, tmp_path: Path) -> None:
    watched = Watched(browser, small, java_script_enabled=False)
    page = watched.page
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    # Without its script the page works, but for sorting.
    page.emulate_media(media="screen")
    page.locator("a[href^='#cell-']").first.click()
    assert page.locator(".cell:visible").count() == 1
    assert page.locator(".sortable button").count() == 0
    watched.close()


def test_a_real_run_s_report(browser: Browser, finished: Path) -> None:
    watched = Watched(browser, finished / "report.html", viewport={"width": 1200, "height": 900})
    page = watched.page
    assert page.title()
    assert page.locator("h1").count() == 1
    assert page.locator("figure svg").count() == 4
    assert page.locator(".plain").inner_text().startswith("Of 100 images like these")
    watched.close()
