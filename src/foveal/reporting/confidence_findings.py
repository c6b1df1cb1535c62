"""What an evaluation tells about a model's probabilities, and the whole in two sentences."""

from foveal.evaluation.calibration import TARGET_ACCURACIES, Confidence, Selective
from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.progress import printable
from foveal.reporting.findings import Finding, count


def summary(e: Evaluation) -> Finding:
    """Say in plain words how good it is, where it errs most, and what staying silent would bring."""
    low, high = e.accuracy_interval
    sentence = (
        f"Of 100 images like these, it classifies about {100 * e.accuracy:.0f} correctly; with {e.n:,} "
        f"images tested, the true number is likely between {100 * low:.1f} and {100 * high:.1f}."
    )
    numbers: dict[str, object] = {"n": e.n, "accuracy": e.accuracy, "accuracy_interval": [low, high]}
    cells = sorted((-n, i, j) for i, row in enumerate(e.confusion) for j, n in enumerate(row) if i != j)
    n, i, j = (-cells[0][0], *cells[0][1:]) if cells else (0, 0, 0)
    if n > 1 and n > -cells[1][0]:  # else several share the first place
        label, guess = e.classes[i].name, e.classes[j].name
        sentence += (
            f" Its most frequent error is to take {printable(label, 40)} for {printable(guess, 40)} "
            f"({n:,} of {count(e.errors, 'error')})."
        )
        numbers |= {"label": label, "predicted": guess, "times": n, "errors": e.errors}
    chosen = _chosen(e.confidence)
    if chosen is not None and chosen.accuracy is not None:
        sentence += (
            f" If it may stay silent where it is not sure, it answers {100 * chosen.coverage:.0f} of 100 "
            f"images, and {100 * chosen.accuracy:.0f} of 100 such answers are right."
        )
        numbers |= {"coverage": chosen.coverage, "answered": chosen.n, "answered_accuracy": chosen.accuracy}
    return Finding(kind="summary", sentence=sentence, numbers=numbers)


def findings_of_confidence(e: Evaluation) -> list[Finding]:
    """Say whether its probabilities hold, what thresholds bring, and how large sets of classes are."""
    return [_calibration(e), *_answers(e), *_sets(e)]


def _calibration(e: Evaluation) -> Finding:
    as_trained, calibrated = e.confidence.as_trained, e.confidence.calibrated
    now = calibrated or as_trained
    beyond = now.error > now.error_limit
    chance = (
        f"{format_percent(now.error_by_chance, e.n)} on average, and no more than "
        f"{format_percent(now.error_limit, e.n)} in 95 of 100 cases"
    )
    sentence = (
        f"{'With its temperature, confidence' if calibrated else 'Confidence'} and accuracy differ by "
        f"{format_percent(now.error, e.n)}. On so many images, chance alone would make it {chance}: "
    )
    if beyond:
        side = "high" if now.confidence > e.accuracy else "low"
        sentence += f"its probabilities are, on the whole, too {side}."
    else:
        sentence += "its probabilities can be taken at their word."
    if calibrated is not None:
        which = "too sure" if as_trained.confidence > e.accuracy else "not sure enough"
        sentence += (
            f" As trained, without the temperature of {e.confidence.temperature:.3f} fitted on validation "
            f"images, it was {format_percent(as_trained.error, e.n)}, {which} on the whole."
        )
    numbers = {
        "n": e.n,
        "accuracy": e.accuracy,
        "temperature": e.confidence.temperature,
        "error": now.error,
        "error_by_chance": now.error_by_chance,
        "error_limit": now.error_limit,
        "confidence": now.confidence,
        "error_as_trained": as_trained.error,
        "confidence_as_trained": as_trained.confidence,
        "beyond_chance": beyond,
    }
    return Finding(kind="calibration", sentence=sentence, numbers=numbers)


def _chosen(confidence: Confidence) -> Selective | None:
    """Return the threshold worth a sentence: for 95 %, or the next that is not reached anyway."""
    wanted = sorted(confidence.selective, key=lambda each: (each.target_accuracy < TARGET_ACCURACIES[1], each.target_accuracy))
    return wanted[0] if wanted else None


def _answers(e: Evaluation) -> list[Finding]:
    chosen = _chosen(e.confidence)
    if chosen is None or chosen.accuracy is None or chosen.accuracy_interval is None:
        return []
    low, high = chosen.accuracy_interval
    sentence = (
        f"For {format_percent(chosen.target_accuracy, 100)} right among answers, validation images ask for a probability of "
        f"at least {format_percent(chosen.threshold, 100)}: of the {printable(e.split, 40)} images it then answers "
        f"{format_percent(chosen.coverage, e.n)} and is right in {format_percent(chosen.accuracy, chosen.n)} of these "
        f"(95 % interval {format_percent(low, chosen.n)} to {format_percent(high, chosen.n)})."
    )
    numbers = {
        "wanted": chosen.target_accuracy,
        "least": chosen.threshold,
        "n": e.n,
        "answered": chosen.n,
        "coverage": chosen.coverage,
        "accuracy": chosen.accuracy,
        "accuracy_interval": [low, high],
    }
    return [Finding(kind="answering", sentence=sentence, numbers=numbers)]


def _sets(e: Evaluation) -> list[Finding]:
    found = [each for each in e.confidence.prediction_sets if each.level == 0.95 and each.threshold > 0]
    if not found:
        return []
    sets = found[0]
    low, high = sets.coverage_interval
    sentence = (
        f"To have the true class among those it names in 95 of 100 cases, it has to name "
        f"{sets.size:.2f} classes on average, a single one for {format_percent(sets.single, e.n)} of the images; on "
        f"{printable(e.split, 40)} images the true class was among them in {format_percent(sets.coverage, e.n)} of "
        f"cases (95 % interval {format_percent(low, e.n)} to {format_percent(high, e.n)})."
    )
    numbers = {
        "level": sets.level,
        "n": e.n,
        "size": sets.size,
        "single": sets.single,
        "coverage": sets.coverage,
        "coverage_interval": [low, high],
    }
    return [Finding(kind="sets", sentence=sentence, numbers=numbers)]
