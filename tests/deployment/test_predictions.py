from pathlib import Path

from foveal.deployment import bundle
from foveal.deployment.predictions import Prediction, Predictions, expand_patterns


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
    assert list(expand_patterns([tmp_path])) == expected
    assert list(expand_patterns([str(tmp_path / "*"), "gone.png"])) == [*reversed(expected), "gone.png"]


def test_predictions_are_a_sequence() -> None:
    made = [Prediction(path="a", label="cat", probability=0.5), Prediction(path="b", error="empty")]
    predictions = Predictions(made)
    assert (predictions[0], list(predictions[1:]), len(predictions)) == (made[0], made[1:], 2)
    assert predictions.unreadable == made[1:]
    assert repr(predictions) == predictions.table()
