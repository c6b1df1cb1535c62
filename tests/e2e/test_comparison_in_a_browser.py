"""The page of a comparison in a real browser: asks for nothing, shows its pictures, fits, is accessible."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from foveal.comparison.models import Contender, compare_models
from foveal.data.decode import encode_png
from foveal.reporting.compare_page import render_comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1200, True)])
def test_the_page_fits_shows_its_pictures_and_asks_for_nothing(
    tmp_path: Path, width: int, dark: bool
) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    draw = np.random.default_rng(0)
    labels = np.arange(600) % 3
    predicted = [np.where(draw.random(600) < rate, labels, (labels + 1) % 3) for rate in (0.7, 0.9)]
    contenders = [
        Contender(name=name, y_pred=each, seconds=2.0, parameters=1000, details={})
        for name, each in zip(("one", "two"), predicted, strict=True)
    ]
    paths = [f"test/class/an-image-with-a-rather-long-name-{row}.png" for row in range(600)]
    names = ["cat", "dog", "ox"]
    comparison = compare_models(contenders, labels, names, split="test", recipes="", paths=paths)
    pictures = {path: encode_png(draw.integers(256, size=(8, 8, 3), dtype=np.uint8)) for path in paths}
    file = tmp_path / "page.html"
    file.write_text(render_comparison(comparison, pictures), encoding="utf-8")
    asked, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(file.as_uri())
        drawn = page.evaluate("[...document.images].filter((each) => each.naturalWidth === 8).length")
        wide = page.evaluate("document.documentElement.scrollWidth")
        violations = Axe().run(page).response["violations"]
        browser.close()
    assert drawn == 48
    assert wide <= width
    assert [each["id"] for each in violations] == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert said == []
