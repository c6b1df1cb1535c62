from pathlib import Path

from foveal.deployment import bundle
from foveal.deployment.inputs import collect_items
from foveal.deployment.predictions import MAX_HTML_ROWS, Prediction, Predictions, read_list


def test_images_folders_and_patterns_in_the_order_given(finished: Path, few_digits: Path) -> None:
    one = sorted((few_digits / "test" / "8").iterdir())[3]
    found = bundle.load_bundle(finished).predict(
        [one, few_digits / "test" / "0", str(few_digits / "test" / "3" / "*.png")]
    )
    zeros, threes = (sorted(map(str, (few_digits / "test" / label).iterdir())) for label in "03")
    assert [each.path for each in found] == [str(one), *zeros, *threes]


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    for name in ("b.png", ".b.png", "a/c.png", "a/.hidden/d.png"):
        (tmp_path / name).touch()
    expected = [str(tmp_path / "b.png"), str(tmp_path / "a" / "c.png")]
    assert [item.path for item in collect_items(tmp_path)] == expected
    found = collect_items([str(tmp_path / "*"), "gone.png"])
    assert [item.path for item in found] == [*reversed(expected), "gone.png"]


def test_predictions_are_a_sequence() -> None:
    made = [Prediction(path="a", label="cat", probability=0.5), Prediction(path="b", error="empty")]
    predictions = Predictions(made)
    assert (predictions[0], list(predictions[1:]), len(predictions)) == (made[0], made[1:], 2)
    assert predictions.unreadable == made[1:]
    assert repr(predictions) == predictions.table()


def test_unsure_answers_and_notes_are_shown() -> None:
    made = [
        Prediction(path="a", label="cat", probability=0.5, unsure=True),
        Prediction(path="b", label="dog", probability=0.9, unsure=False),
        Prediction(path="c", error="empty"),
    ]
    predictions = Predictions(made, ["1 of 3 answers are unsure"])
    lines = repr(predictions).splitlines()
    assert lines[0].split() == ["file", "class", "answer", "probability"]
    assert lines[2].split() == ["a", "cat", "unsure", "0.5000"]
    assert lines[3].split() == ["b", "dog", "sure", "0.9000"]
    assert lines[5:] == ["", "1 of 3 answers are unsure"]
    assert "answer" not in repr(Predictions(made[1:]))


def test_a_notebook_shows_a_table_with_every_text_escaped() -> None:
    made = [Prediction(path="<b>.png", label="<i>", probability=0.5)] * (MAX_HTML_ROWS + 2)
    html = Predictions(made, ["a < b"])._repr_html_()
    assert html.startswith("<table>")
    assert "&lt;b&gt;.png" in html
    assert "&lt;i&gt;" in html
    assert "<p>a &lt; b</p>" in html
    assert "<p>and 2 more, which print() shows</p>" in html
    assert html.count("<tr") == MAX_HTML_ROWS + 1


def test_lists_of_paths() -> None:
    assert read_list(b"a.png\nb c.png\n\n  \n") == ["a.png", "b c.png"]
    assert read_list("\ufeffa.png\r\nb.png\r\n".encode()) == ["a.png", "b.png"]
    assert read_list("a.png\nä.png".encode("utf-16")) == ["a.png", "ä.png"]
    assert read_list(b"a\nb.png\0c.png\0") == ["a\nb.png", "c.png"]
    assert read_list(b" a.png\n-b.png") == [" a.png", "-b.png"]
