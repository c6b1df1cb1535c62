"""Sentences about a model's probabilities, and the summary of an evaluation."""

from foveal.evaluation.calibration import choose_default_threshold
from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.progress import printable
from foveal.reporting.findings import Finding, format_count


def summarise(evaluation: Evaluation) -> Finding:
    """Summarise how good the model is, where it errs most, and what it gains by not answering when unsure."""
    n, accuracy = evaluation.n, evaluation.accuracy
    low, high = evaluation.accuracy_interval
    sentence = (
        f"Of 100 images like these, it classifies about {100 * accuracy:.0f} correctly; with {n:,} "
        f"images tested, the true number is likely between {100 * low:.1f} and {100 * high:.1f}."
    )
    numbers: dict[str, object] = {"n": n, "accuracy": accuracy, "accuracy_interval": [low, high]}
    error = _find_most_frequent_error(evaluation)
    if error is not None:
        label, predicted, times = error
        sentence += (
            f" Its most frequent error is to take {printable(label, 40)} for {printable(predicted, 40)} "
            f"({times:,} of {format_count(evaluation.errors, 'error')})."
        )
        numbers |= {"label": label, "predicted": predicted, "times": times, "errors": evaluation.errors}
    selective = choose_default_threshold(evaluation.confidence.selective)
    if selective is not None and selective.accuracy is not None:
        sentence += (
            f" If it may stay silent where it is not sure, it answers {100 * selective.coverage:.0f} of 100 "
            f"images, and {100 * selective.accuracy:.0f} of 100 such answers are right."
        )
        numbers |= {
            "coverage": selective.coverage,
            "answered": selective.n,
            "answered_accuracy": selective.accuracy,
        }
    return Finding(kind="summary", sentence=sentence, numbers=numbers)


def _find_most_frequent_error(evaluation: Evaluation) -> tuple[str, str, int] | None:
    """Return true class, predicted class and count; None where several share the first place."""
    cells = sorted(
        ((n, i, j) for i, row in enumerate(evaluation.confusion) for j, n in enumerate(row) if i != j),
        reverse=True,
    )
    if not cells or cells[0][0] <= 1 or cells[0][0] == cells[1][0]:
        return None
    n, i, j = cells[0]
    return evaluation.classes[i].name, evaluation.classes[j].name, n


def describe_confidence(evaluation: Evaluation) -> list[Finding]:
    """Describe the calibration, what a threshold brings, and how large the prediction sets are."""
    return [
        _describe_calibration(evaluation),
        *_describe_selective(evaluation),
        *_describe_sets(evaluation),
    ]


def _describe_calibration(e: Evaluation) -> Finding:
    as_trained, calibrated = e.confidence.as_trained, e.confidence.calibrated
    current = calibrated or as_trained
    beyond_chance = current.error > current.error_limit
    chance = (
        f"{format_percent(current.error_by_chance, e.n)} on average, and no more than "
        f"{format_percent(current.error_limit, e.n)} in 95 of 100 cases"
    )
    sentence = (
        f"{'With its temperature, confidence' if calibrated else 'Confidence'} and accuracy differ by "
        f"{format_percent(current.error, e.n)}. On so many images, chance alone would make it {chance}: "
    )
    if beyond_chance:
        side = "high" if current.confidence > e.accuracy else "low"
        sentence += f"its probabilities are, on the whole, too {side}."
    else:
        sentence += "its probabilities can be taken at their word."
    if calibrated is not None:
        tendency = "too sure" if as_trained.confidence > e.accuracy else "not sure enough"
        sentence += (
            f" As trained, without the temperature of {e.confidence.temperature:.3f} fitted on validation "
            f"images, it was {format_percent(as_trained.error, e.n)}, {tendency} on the whole."
        )
    numbers = {
        "n": e.n,
        "accuracy": e.accuracy,
        "temperature": e.confidence.temperature,
        "error": current.error,
        "error_by_chance": current.error_by_chance,
        "error_limit": current.error_limit,
        "confidence": current.confidence,
        "error_as_trained": as_trained.error,
        "confidence_as_trained": as_trained.confidence,
        "beyond_chance": beyond_chance,
    }
    return Finding(kind="calibration", sentence=sentence, numbers=numbers)


def _describe_selective(e: Evaluation) -> list[Finding]:
    selective = choose_default_threshold(e.confidence.selective)
    if selective is None or selective.accuracy is None or selective.accuracy_interval is None:
        return []
    accuracy, low, high = (
        format_percent(share, selective.n) for share in (selective.accuracy, *selective.accuracy_interval)
    )
    sentence = (
        f"For {format_percent(selective.target_accuracy, 100)} right among answers, validation images ask "
        f"for a probability of at least {format_percent(selective.threshold, 100)}: of the "
        f"{printable(e.split, 40)} images it then answers {format_percent(selective.coverage, e.n)} and is "
        f"right in {accuracy} of these (95 % interval {low} to {high})."
    )
    numbers = {
        "wanted": selective.target_accuracy,
        "least": selective.threshold,
        "n": e.n,
        "answered": selective.n,
        "coverage": selective.coverage,
        "accuracy": selective.accuracy,
        "accuracy_interval": list(selective.accuracy_interval),
    }
    return [Finding(kind="answering", sentence=sentence, numbers=numbers)]


def _describe_sets(e: Evaluation) -> list[Finding]:
    sets = next(
        (row for row in e.confidence.prediction_sets if row.level == 0.95 and row.threshold > 0), None
    )
    if sets is None:
        return []
    single, coverage, low, high = (
        format_percent(share, e.n) for share in (sets.single, sets.coverage, *sets.coverage_interval)
    )
    sentence = (
        f"To have the true class among those it names in 95 of 100 cases, it has to name "
        f"{sets.size:.2f} classes on average, a single one for {single} of the images; on "
        f"{printable(e.split, 40)} images the true class was among them in {coverage} of "
        f"cases (95 % interval {low} to {high})."
    )
    numbers = {
        "level": sets.level,
        "n": e.n,
        "size": sets.size,
        "single": sets.single,
        "coverage": sets.coverage,
        "coverage_interval": list(sets.coverage_interval),
    }
    return [Finding(kind="sets", sentence=sentence, numbers=numbers)]
