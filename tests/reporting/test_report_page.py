import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from foveal.evaluation.metrics import DEFINITIONS, Evaluation
from foveal.evaluation.roc import ClassCurves
from foveal.files.run_records import EpochRecord, LeftOut, SplitRecord
from foveal.models.registry import Layer
from foveal.reporting import report_files, report_page
from foveal.reporting.report import Report
from foveal.reporting.report_files import build_evaluation_json
from foveal.reporting.training_findings import OVERFITTING_RULE, describe_history

Judge = Callable[..., Evaluation]
Curve = Callable[[str, float], ClassCurves]

PICTURE = '<svg xmlns="http://www.w3.org/2000/svg"><g id="figure_1"/></svg>'
PICTURES = {
    "learning-curves": PICTURE,
    "roc-curves": PICTURE,
    "precision-recall-curves": PICTURE,
    "reliability": PICTURE,
}
# fmt: off
ALLOWED_TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "h1", "h2",
    "h3", "p", "dl", "dt", "dd", "div", "small", "ul", "li", "figure", "span", "details", "summary",
    "table", "thead", "tbody", "tfoot", "tr", "th", "td", "code", "pre", "bdi", "svg", "g", "path",
    "text", "use", "defs", "clippath", "rect", "nav", "a", "h4", "strong", "script",
}
# fmt: on


def render(report: Report, pictures: Mapping[str, str]) -> str:
    return report_page.render_report(report, pictures, build_evaluation_json(report))


class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes, texts, table rows."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.cells: list[str] | None = None
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "tr":
            self.cells = []
            self.rows.append(self.cells)
        if tag in ("td", "th") and self.cells is not None:
            self.cells.append("")
        if tag == "small" and self.cells:
            self.cells[-1] += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"<{tag}> closes another element"
        if tag == "tr":
            self.cells = None

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            return
        shown = data.replace("\u00a0", " ")
        self.text += shown
        if self.cells:
            self.cells[-1] += shown

    def row(self, *beginning: str) -> list[str]:
        """The one row that begins with these cells."""
        (found,) = [row for row in self.rows if row[: len(beginning)] == list(beginning)]
        return found


def numbers_of(value: object) -> list[float]:
    match value:
        case bool() | str() | None:
            return []
        case int() | float():
            return [value]
        case Mapping():
            return [number for child in value.values() for number in numbers_of(child)]
        case list() | tuple():
            return [number for child in value for number in numbers_of(child)]
    raise AssertionError(f"{value!r} is not plain JSON")


def test_every_number_of_the_tables_is_in_evaluation_json(full: Report) -> None:
    known = set()
    for number in numbers_of(json.loads(json.dumps(build_evaluation_json(full), allow_nan=False))):
        known |= {f"{number:,}", f"{number:.4f}", f"{100 * number:.1f}", f"{100 * number:.2f}"}
        known |= {re.sub("e-0?", "e-", f"{number:.3g}")}
    rows = Page(render(full, PICTURES)).rows
    checked = 0
    for row in rows:
        if len(row) == 2:
            continue  # the recipe, the environment and the files left out are settings and names
        for cell in row[1:]:
            if cell.startswith("95 % interval") or cell in ("Conv2d", "BatchNorm2d"):
                continue
            for token in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?", cell):
                assert token in known, f"{token} of the row {row}"
                checked += 1
    assert checked > 200


def test_tables_show_what_was_measured(full: Report, cifar: Evaluation, validation: Evaluation) -> None:
    page = Page(render(full, PICTURES))
    for e in (validation, cifar):
        low, high = e.accuracy_interval
        shown = [f"{100 * value:.2f} %" for value in (e.accuracy, low, high)]
        assert page.row(e.split, "10,000") == [
            e.split, "10,000", f"{e.loss:.4f}", shown[0], f"{shown[1]} – {shown[2]}"
        ]  # fmt: skip
    for c in cifar.classes:
        assert c.precision is not None
        assert c.recall is not None
        assert c.recall_interval is not None
        assert c.f1 is not None
        shown = ["{:.1f} % {:.1f} % – {:.1f} %".format(100 * value, *(100 * bound for bound in interval))
                 for value, interval in ((c.precision, c.precision_interval), (c.recall, c.recall_interval),
                                         (c.f1, c.f1_interval))]  # fmt: skip
        areas = ["{:.4f} {:.4f} – {:.4f}".format(value, *interval)
                 for value, interval in ((c.roc_auc, c.roc_auc_interval),
                                         (c.average_precision, c.average_precision_interval))]  # fmt: skip
        assert page.row(c.name, "1,000", shown[0]) == [c.name, "1,000", *shown, *areas]
    for name, mean in (("Macro average", cifar.macro), ("Weighted average", cifar.weighted)):
        for cell, figure in zip(page.row(name)[2:5], ("precision", "recall", "f1"), strict=True):
            low, high = (100 * bound for bound in getattr(mean, f"{figure}_interval"))
            assert cell == f"{100 * getattr(mean, figure):.2f} % {low:.2f} % – {high:.2f} %"
    for record in full.history:
        assert page.row(str(record.epoch))[2] == f"{record.loss:.4f}"
        assert page.row(str(record.epoch))[5] == f"{100 * (record.validation_accuracy or 0):.2f} %"
    assert page.row("13")[1] == "1e-5"
    assert page.row("airplane", "4,000") == ["airplane", "4,000", "1,000", "1,000"]
    assert page.row("All") == ["All", "40,000", "10,000", "10,000"]
    assert page.row("conv1") == ["conv1", "Conv2d", "32 × 32 × 32", "896", "0"]
    assert page.row("Parameters")[3:] == ["960", "64"]
    assert page.row("train1/003_cat/broken.png") == ["train1/003_cat/broken.png", "truncated"]
    assert page.row("model.widths") == ["model.widths", "32, 64"]
    assert not [row for row in page.rows if row[0] == "augmentation"]


def test_says_all_that_it_should(full: Report, cifar: Evaluation) -> None:
    text = Page(render(full, PICTURES)).text
    for finding in full.findings:
        assert finding.sentence in text
    for word, sentence in DEFINITIONS.items():
        assert word in text
        assert sentence in text
    for part in (
        full.title,
        "81.18 %",
        "95 % interval 80.40 % to 81.93 %",
        f"{cifar.loss:.4f}",
        "13 of 19",
        "18 min 4 s",
        "stopped early",
        "Seed7",
        "Balanced:",
        "1 file left out",
        OVERFITTING_RULE,
        "foveal train 'my images' --recipe recipe.json --validation train2 --seed 7",
        "3f1c" * 16,
    ):
        assert part in text, part


def test_the_cut_after_the_last_epoch_is_taken_from_the_events(full: Report) -> None:
    assert full.next_learning_rate == 1e-7
    assert describe_history(full.history, next_learning_rate=1e-7)[1] in full.findings
    assert replace(full, events=full.events[:2]).next_learning_rate is None


def test_tells_nothing_of_the_machine_s_folders(full: Report) -> None:
    assert "somebody" not in render(full, PICTURES)
    assert "somebody" not in json.dumps(build_evaluation_json(full))


def test_is_one_offline_page(full: Report, tmp_path: Path) -> None:
    html = render(full, report_files.draw_pictures(full, tmp_path))
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert page.open == []
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert "src" not in attributes
        link = attributes.get("href") or "#"
        assert link.startswith(("#", "data:")), link
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {a["href"] for _, a in page.tags if (a.get("href") or "").startswith("#")}
    used |= set(re.findall(r"url\((#[^)]*)\)", html))
    assert used
    assert used <= {f"#{name}" for name in ids}
    figures = [attributes for tag, attributes in page.tags if tag == "figure"]
    assert len(figures) == 4
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert headings.count("h1") == 1
    assert headings[0] == "h1"


def test_hostile_names_are_inert(full: Report, judge: Judge, curve: Curve, tmp_path: Path) -> None:
    names = [
        "<script>alert(1)</script>",
        "a\u202eb\x07\n",
        "$x^2$ {{ 7 * 7 }}",
        "x" * 5000,
        "\udcff'\"&lt;",
        "</style>",
    ]
    bad = "<img src=x onerror=alert(1)>\u202e"
    e = judge((np.eye(6, dtype=int) * 9 + 1).tolist(), names, split=bad)
    report = replace(
        full,
        title=bad + "t" * 5000,
        recipe={"name": bad, bad: {bad: [bad]}},
        dataset=replace(
            full.dataset,
            classes=tuple(names),
            rule=bad,
            splits={split: SplitRecord(n=6, classes=(1,) * 6, files=()) for split in full.dataset.splits},
            left_out=tuple(LeftOut(path=f"{bad}\udcff{i}", reason=bad) for i in range(300)),
        ),
        environment=replace(full.environment, data=bad, platform=bad),
        test=e,
        validation=None,
        curves=[curve(name, 0.9) for name in names],
        layers=[Layer(name=bad, kind=bad, output=(1,), trainable=1, other=0)],
    )
    html = render(report, report_files.draw_pictures(report, tmp_path))
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    html.encode()  # no lone surrogates
    assert not set("\u202e\x07") & set(html)
    assert "x" * 61 not in html
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "These are the first 200" in page.text


@pytest.mark.parametrize("has", [(True, False), (False, True), (False, False)])
def test_with_one_evaluation_or_none(full: Report, has: tuple[bool, bool]) -> None:
    report = replace(
        full,
        validation=full.validation if has[0] else None,
        test=full.test if has[1] else None,
        curves=full.curves if any(has) else (),
        layers=(),
    )
    value = build_evaluation_json(report)
    assert [value["validation"] is not None, value["test"] is not None] == list(has)
    text = Page(render(report, {"learning-curves": PICTURE})).text
    assert ("Test accuracy" in text) == has[1]
    assert ("Validation accuracy8" in text) == (has == (True, False))
    assert ("What the words mean" in text) == any(has)
    assert "Network" not in text


def test_without_a_history_or_validation(full: Report, epochs: Callable[..., list[EpochRecord]]) -> None:
    assert "Learning" not in Page(render(replace(full, history=[], events=[]), {})).text
    blind = replace(full, history=epochs([(1, 0.5, None, None, 0.1)] * 4), events=[], validation=None)
    text = Page(render(blind, PICTURES)).text
    assert "Best epoch" not in text
    assert "Nothing was validated" in text
    assert Page(render(blind, PICTURES)).row("2") == ["2", "0.1", "1.0000", "50.00 %", "–", "–"]


def test_views_are_told_where_they_were_measured(full: Report, cifar: Evaluation) -> None:
    assert "views of each image" not in Page(render(full, PICTURES)).text
    assert full.validation is not None
    viewed = replace(full, test=cifar.with_views(6, replace(cifar, accuracy=0.8234, loss=0.5678)))
    text = Page(render(viewed, PICTURES)).text
    told = "On test, 6 views of each image averaged (test-time augmentation) give accuracy 82.34 %"
    assert text.count("views of each image") == text.count(told) == 1
    assert "six times the computing and is no property of the saved model" in text
    known = numbers_of(build_evaluation_json(viewed)["test"]["views"])
    assert known == [6, 0.8234, *cifar.accuracy_interval, 0.5678]
    assert viewed.findings == full.findings  # what counts is said of one view
    both = replace(viewed, validation=full.validation.with_views(3, full.validation))
    assert "On validation, 3 views" in Page(render(both, PICTURES)).text


def test_undefined_figures_are_dashes(full: Report, judge: Judge) -> None:
    e = judge([[5, 0, 1], [2, 0, 1], [0, 0, 0]], ["a", "b", "c"])
    page = Page(render(replace(full, test=e), PICTURES))
    assert page.row("b", "3", "–")[2:4] == ["–", "0.0 % 0.0 % – 56.1 %"]
    assert page.row("c", "0", "0.0 % 0.0 % – 65.8 %")[3] == "–"
    assert page.row("c", "0", "0.0 % 0.0 % – 65.8 %")[5:7] == ["–", "–"]


def test_a_forgotten_field_is_an_error_not_a_blank(full: Report) -> None:
    with pytest.raises(UndefinedError):
        render(replace(full, recipe={}), PICTURES)
