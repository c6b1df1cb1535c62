import json
from collections.abc import Callable, Sequence

import pytest

from foveal.files.run_records import EpochRecord
from foveal.reporting.training_findings import (
    LearningRateDrop,
    describe_history,
    detect_overfitting,
    find_best_epoch,
    find_learning_rate_drops,
    find_most_accurate_epoch,
)

Epochs = Callable[..., list[EpochRecord]]


def curve(epochs: Epochs, training: Sequence[float], validation: Sequence[float | None]) -> list[EpochRecord]:
    rows = [(t, 0.5, v, None if v is None else 0.5, 1e-3) for t, v in zip(training, validation, strict=True)]
    return epochs(rows)


def sentences(history: Sequence[EpochRecord], **options: float) -> dict[str, str]:
    return {finding.kind: finding.sentence for finding in describe_history(history, **options)}


def test_the_notebook_s_log(notebook: list[EpochRecord]) -> None:
    assert sentences(notebook, next_learning_rate=1e-7) == {
        "best_epoch": "Epoch 13 of 19 was best: validation loss 0.5949, accuracy 81.09 %. By accuracy "
        "alone it is "
        "epoch 18, with 81.33 %.",
        "learning_rate": "The learning rate, 0.001 at first, was cut 4 times: to 0.0001 after epoch 8, to "
        "1e-5 "
        "after epoch 12, to 1e-6 after epoch 16 and to 1e-7 after epoch 19. No epoch trained with the last "
        "of "
        "these.",
        "overfitting": "It overfits mildly from epoch 10 on: in each of the last 3 epochs the training "
        "loss was at "
        "least 21.9 % below that of epoch 9, while the validation loss became at most 1.4 % better.",
    }


def test_every_finding_carries_its_numbers(notebook: list[EpochRecord]) -> None:
    best, rate, fit = describe_history(notebook, next_learning_rate=1e-7)
    assert best.numbers["best_epoch"] == 13
    assert best.numbers["validation_loss"] == 0.5949
    assert best.numbers["most_accurate_epoch"] == 18
    assert [cut["after_epoch"] for cut in rate.numbers["cuts"]] == [8, 12, 16, 19]
    assert fit.numbers["from_epoch"] == 10
    assert fit.numbers["training_fell"] == pytest.approx(1 - 0.4391 / 0.5625)
    assert fit.numbers["validation_gained"] == pytest.approx(1 - 0.5949 / 0.6032)
    for finding in (best, rate, fit):
        json.dumps(finding.to_json(), allow_nan=False)


def test_best_is_the_first_of_equals(epochs: Epochs) -> None:
    best = find_best_epoch(curve(epochs, [1, 1, 1], [0.5, 0.4, 0.4]))
    assert best is not None
    assert best.epoch == 2


def test_a_cut_after_the_last_epoch_needs_to_be_told(notebook: list[EpochRecord]) -> None:
    cuts = find_learning_rate_drops(notebook)
    assert cuts is not None
    assert [cut.after_epoch for cut in cuts] == [8, 12, 16]
    assert find_learning_rate_drops(notebook, next_learning_rate=1e-7) == [
        *cuts,
        LearningRateDrop(after_epoch=19, before=1e-6, after=1e-7),
    ]
    assert find_learning_rate_drops(notebook, next_learning_rate=1e-6) == cuts


def test_a_schedule_is_no_series_of_cuts(epochs: Epochs) -> None:
    falling = epochs([(1, 0.5, 1, 0.5, rate) for rate in (0.4, 0.3, 0.2, 0.1)])
    rising = epochs([(1, 0.5, 1, 0.5, rate) for rate in (0.1, 0.4, 0.2)])
    assert find_learning_rate_drops(falling) is None
    assert sentences(falling)["learning_rate"] == (
        "The learning rate followed a schedule: 0.4 in epoch 1, at most 0.4 (epoch 1), 0.1 in epoch 4."
    )
    assert sentences(rising)["learning_rate"] == (
        "The learning rate followed a schedule: 0.1 in epoch 1, at most 0.4 (epoch 2), 0.2 in epoch 3."
    )


def test_a_constant_rate_and_one_cut(epochs: Epochs) -> None:
    assert (
        sentences(epochs([(1, 0.5, 1, 0.5, 0.01)] * 3))["learning_rate"]
        == "The learning rate stayed at 0.01."
    )
    one = epochs([(1, 0.5, 1, 0.5, rate) for rate in (0.01, 0.01, 0.001)])
    assert sentences(one)["learning_rate"] == (
        "The learning rate, 0.01 at first, was cut once: to 0.001 after epoch 2."
    )


def test_overfits_after_the_best_epoch(epochs: Epochs) -> None:
    history = curve(epochs, [1.0, 0.8, 0.6, 0.4, 0.3, 0.2], [1.0, 0.9, 0.85, 0.95, 1.0, 1.2])
    fact = detect_overfitting(history)
    assert (fact.verdict, fact.after_epoch) == ("overfits", 3)
    assert fact.training_fell == pytest.approx(1 / 3)
    assert fact.validation_rose == pytest.approx((0.95 / 0.85 - 1, 1.2 / 0.85 - 1))
    assert sentences(history)["overfitting"] == (
        "It overfits from epoch 4 on: in each of the last 3 epochs the training loss was at least 33.3 % "
        "below that "
        "of epoch 3, the best, and the validation loss at least 11.8 % above."
    )


def test_a_gap_between_training_and_validation_is_no_overfitting(epochs: Epochs) -> None:
    # A validation loss far above (no dropout in the running mean) or below it says nothing either way.
    for level in (0.1, 10.0):
        history = curve(
            epochs, [1.0, 0.98, 0.97, 0.96, 0.95], [level * v for v in (1.0, 0.9, 0.8, 0.75, 0.7)]
        )
        assert detect_overfitting(history).verdict == "none"


def test_the_verdict_does_not_depend_on_either_level(notebook: list[EpochRecord], epochs: Epochs) -> None:
    raised = curve(epochs, [7 * e.loss for e in notebook], [0.2 * (e.validation_loss or 0) for e in notebook])
    assert detect_overfitting(raised).verdict == detect_overfitting(notebook).verdict == "mild"
    assert detect_overfitting(raised).after_epoch == detect_overfitting(notebook).after_epoch


def test_noise_at_a_high_rate_is_no_overfitting(notebook: list[EpochRecord]) -> None:
    # After epoch 8 the best is 5, and all three since were worse, by up to 18 %; but epoch 9 is far better.
    assert detect_overfitting(notebook[:8]).verdict == "none"
    assert sentences(notebook[:8])["overfitting"] == (
        "No clear overfitting: in the last 3 epochs the validation loss lay 2.2 % to 18.1 % above that of "
        "epoch 5, "
        "the best, while the training loss had fallen by at least 7.3 %."
    )


def test_a_worse_validation_loss_without_learning_is_no_overfitting(epochs: Epochs) -> None:
    history = curve(epochs, [0.5, 0.4, 0.5, 0.6, 0.7], [0.5, 0.4, 0.6, 0.7, 0.8])
    assert detect_overfitting(history).verdict == "none"
    assert sentences(history)["overfitting"].endswith("while the training loss did not keep falling.")


def test_one_bad_or_good_epoch_decides_nothing(epochs: Epochs) -> None:
    back_again = curve(epochs, [1, 0.8, 0.5, 0.4, 0.3, 0.2], [1, 0.9, 0.5, 0.6, 0.51, 0.6])
    assert detect_overfitting(back_again).verdict == "mild"  # the fifth epoch was nearly as good as the third
    best_is_late = curve(epochs, [1, 0.8, 0.7, 0.4, 0.3], [1, 0.9, 0.5, 0.6, 0.7])
    assert detect_overfitting(best_is_late).verdict == "none"  # two epochs after the best are too few
    assert (
        detect_overfitting(
            curve(epochs, [*[1, 0.8, 0.7, 0.4, 0.3], 0.2], [1, 0.9, 0.5, 0.6, 0.7, 0.8])
        ).verdict
        == "overfits"
    )


def test_still_learning(epochs: Epochs) -> None:
    history = curve(epochs, [1, 0.9, 0.8, 0.7, 0.6], [1, 0.9, 0.8, 0.7, 0.6])
    assert sentences(history)["overfitting"] == (
        "No overfitting is visible: the validation loss was lowest at epoch 5 of 5, so more epochs may "
        "still help."
    )


def test_mild_from_the_best_epoch_itself(epochs: Epochs) -> None:
    history = curve(epochs, [1, 0.8, 0.6, 0.5, 0.4], [1, 0.5, 0.51, 0.52, 0.51])
    assert sentences(history)["overfitting"] == (
        "It overfits mildly from epoch 3 on: in each of the last 3 epochs the training loss was at least "
        "25.0 % "
        "below that of epoch 2, while the validation loss became no better."
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_epochs(notebook: list[EpochRecord], n: int) -> None:
    said = sentences(notebook[:n])
    assert (
        said["overfitting"]
        == f"Whether it overfits cannot be told from {n} validated epoch{'s' if n > 1 else ''}."
    )
    if n == 1:
        assert said["best_epoch"] == "The only epoch reached validation loss 1.3683, accuracy 50.59 %."


def test_nothing_validated(epochs: Epochs) -> None:
    history = curve(epochs, [1, 0.5], [None, None])
    assert find_best_epoch(history) is None
    assert find_most_accurate_epoch(history) is None
    said = sentences(history)
    assert said["best_epoch"] == (
        "Nothing was validated, so no epoch can be called the best. After 2 epochs the running training "
        "loss was "
        "0.5000."
    )
    assert said["overfitting"] == "Whether it overfits cannot be told, as nothing was validated."


def test_some_epochs_not_validated(epochs: Epochs) -> None:
    history = curve(epochs, [1, 0.9, 0.8, 0.7], [None, 0.9, None, 0.8])
    best = find_best_epoch(history)
    assert best is not None
    assert best.epoch == 4
    assert detect_overfitting(history).verdict == "too few epochs"
    assert sentences(history)["overfitting"].endswith("cannot be told from 2 validated epochs.")


def test_losses_of_exactly_zero(epochs: Epochs) -> None:
    assert detect_overfitting(curve(epochs, [0.0] * 5, [0.0] * 5)).verdict == "none"


def test_no_history() -> None:
    assert describe_history([]) == []
    assert find_learning_rate_drops([], next_learning_rate=1) == []


def test_a_scheduled_rate_is_never_called_a_cut(epochs: Epochs) -> None:
    two = epochs([(1.7, 0.5, 1.2, 0.5, 0.12), (1.3, 0.7, 0.7, 0.7, 0.001)])
    assert len(find_learning_rate_drops(two) or []) == 1
    assert find_learning_rate_drops(two, scheduled=True) is None
    rate = describe_history(two, scheduled=True)[1]
    assert rate.sentence.startswith("The learning rate followed a schedule: 0.12 in epoch 1")
