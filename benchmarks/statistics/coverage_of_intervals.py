"""How often the intervals contain the true value, by simulation: `docs/intervals.md`.

    python -m benchmarks.statistics.coverage_of_intervals > docs/intervals.md

Everything is drawn from a seed, so the page is the same everywhere. A few minutes.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score

from benchmarks.measurement.command_line import create_parser
from foveal.evaluation import roc
from foveal.evaluation.intervals import auc_interval, average_precision_interval, f1_interval, wilson_interval
from foveal.evaluation.macro_averages import macro_average
from foveal.types import Bools, Floats

Interval = tuple[float, float]
Random = np.random.Generator
Sample = Callable[..., tuple[Bools, Floats]]
SIZES = (100, 1_000, 10_000)
TRUTHS = (0.05, 0.2, 0.5, 0.8, 0.95)
EXPECTED_COVERAGE = (0.935, 0.965)
"""The bounds of the coverage outside of which the page shows a star."""


@dataclass(frozen=True)
class Case:
    """A population in which the true value of a figure is known."""

    n: int
    """The number of images in a sample."""
    description: str
    """The true value, and what else describes the population."""
    truth: float
    """The true value."""
    draw_interval: Callable[[Random], Interval]
    """A function that draws a sample and returns its interval."""

    def coverage(self, draws: int) -> float:
        """Return the share of samples whose interval contains the true value."""
        random = np.random.default_rng(0)
        return float(
            np.mean([low <= self.truth <= high for low, high in map(self.draw_interval, [random] * draws)])
        )


def share_cases() -> Iterator[Case]:
    """Yield the cases for accuracy, recall and precision, which are shares."""
    for n in SIZES:
        for truth in TRUTHS:
            yield Case(
                n,
                f"{truth:g}",
                truth,
                lambda random, n=n, truth=truth: wilson_interval(int(random.binomial(n, truth)), n),  # type: ignore[misc]
            )


def f1_cases() -> Iterator[Case]:
    """Yield the cases for F1 of a class with a tenth of the images, and as many misses as false alarms."""
    for n in SIZES:
        for truth in TRUTHS:
            hit = 0.1 * min(1.0, truth)
            error = 2 * hit * (1 - truth) / truth
            if hit + error > 1:
                hit, error = hit / (hit + error), error / (hit + error)

            def draw(random: Random, n: int = n, hit: float = hit, error: float = error) -> Interval:
                hits, errors, _ = random.multinomial(n, [hit, error, max(0.0, 1 - hit - error)])
                return f1_interval(int(hits), int(errors))

            yield Case(n, f"{truth:g}", truth, draw)


def macro_cases(figure: str) -> Iterator[Case]:
    """Yield the cases for macro averages over ten classes, of equal size and from 1 to 10, errors uneven."""
    for n in SIZES:
        for accuracy in TRUTHS:
            for ratio in (1, 10):
                cells = _create_population(10, accuracy, ratio)
                true, predicted, hits = cells.sum(axis=1), cells.sum(axis=0), np.diagonal(cells)
                truth = {
                    "recall": hits / true,
                    "precision": hits / predicted,
                    "f1": 2 * hits / (true + predicted),
                }[figure].mean()

                def draw(random: Random, n: int = n, cells: Floats = cells) -> Interval:
                    confusion = random.multinomial(n, cells.ravel()).reshape(cells.shape)
                    interval: Interval = getattr(macro_average(confusion), f"{figure}_interval")
                    return interval

                sizes = "equal classes" if ratio == 1 else "sizes 1 to 10"
                yield Case(n, f"{accuracy:g}, {sizes}", float(truth), draw)


def _create_population(k: int, accuracy: float, ratio: float) -> Floats:
    """Return the shares of true and predicted classes in a population, (K, K)."""
    random = np.random.default_rng(5)
    sizes = ratio ** -np.linspace(0, 1, k)
    sizes /= sizes.sum()
    recall = np.clip(accuracy + accuracy * (1 - accuracy) * random.normal(0, 0.5, k), 0.01, 0.995)
    cells = np.zeros((k, k))
    for true in range(k):
        others = np.arange(k) != true
        cells[true, others] = (1 - recall[true]) * random.dirichlet(np.full(k - 1, 0.7))
        cells[true, true] = recall[true]
    shares: Floats = cells * sizes[:, None]
    return shares


def roc_area_cases() -> Iterator[Case]:
    """Yield the cases for ROC areas of a class with a tenth of the images, with different scatter."""
    for case, truth, sample in _score_populations():
        n, description = case

        def draw(random: Random, sample: Sample = sample) -> Interval:
            ranked = roc.rank_scores(*sample(random))
            assert ranked.area is not None
            return auc_interval(ranked.area, ranked.area_variance, ranked.positives, ranked.negatives)

        yield Case(n, description, truth, draw)


def average_precision_cases() -> Iterator[Case]:
    """Yield the cases for average precision, on the same scores."""
    for case, _, sample in _score_populations():
        n, description = case
        large = [sample(np.random.default_rng(seed), 100_000) for seed in range(5)]
        truth = float(np.mean([average_precision_score(*scores) for scores in large]))

        def draw(random: Random, sample: Sample = sample) -> Interval:
            ranked = roc.rank_scores(*sample(random))
            assert ranked.average_precision is not None
            return average_precision_interval(ranked.average_precision, ranked.positives)

        yield Case(n, f"{description}, AP {truth:.2f}", truth, draw)


def _score_populations() -> Iterator[tuple[tuple[int, str], float, Sample]]:
    for n in SIZES:
        for area in (0.6, 0.8, 0.9, 0.95, 0.99, 0.998):
            for scatter in (0.5, 1.0, 2.0):
                shift = stats.norm.ppf(area) * (1 + scatter**2) ** 0.5

                def sample(
                    random: Random, n: int = n, shift: float = shift, scatter: float = scatter
                ) -> tuple[Bools, Floats]:
                    positive = np.arange(n) < n // 10
                    scores = random.normal(size=n)
                    return positive, np.where(positive, shift + scatter * scores, scores)

                yield (n, f"area {area:g}, positives scatter {scatter:g} times as much"), area, sample


FIGURES: dict[str, tuple[str, Callable[[], Iterator[Case]], int]] = {
    "Shares: accuracy, recall, precision": ("Wilson's interval.", share_cases, 2000),
    "F1 of a class": ("Wilson's interval for Jaccard's index, carried over.", f1_cases, 2000),
    "Macro recall": (
        "The delta method by image, on counts smoothed as Agresti and Coull do.",
        lambda: macro_cases("recall"),
        2000,
    ),
    "Macro precision": ("The same.", lambda: macro_cases("precision"), 2000),
    "Macro F1": ("The same.", lambda: macro_cases("f1"), 2000),
    "ROC area": (
        "Newcombe's method 5, its variance raised to DeLong's where that is larger.",
        roc_area_cases,
        2000,
    ),
    "Average precision": ("Wilson's interval by the number of positives.", average_precision_cases, 500),
}


def main() -> None:
    """Print the page."""
    create_parser(__doc__).parse_args()
    print(_PAGE)
    for name, (method, cases, draws) in FIGURES.items():
        print(f"## {name}\n\n{method} {draws:,} draws a line.\n")
        print("| images | true value | held |\n|---:|---|---:|")
        for case in cases():
            coverage = case.coverage(draws)
            mark = "" if EXPECTED_COVERAGE[0] <= coverage <= EXPECTED_COVERAGE[1] else " \\*"
            print(f"| {case.n:,} | {case.description} | {coverage:.1%}{mark} |")
            sys.stdout.flush()
        print()


_PAGE = """# How often the intervals hold the truth

Each interval in a report says 95 %. Here each is drawn again and again from populations whose true value
is known. A star marks what lies outside 95 % ± 1.5. What to take from it:

- **Shares, and F1 of a class**, hold what they say; of 100 images a share takes few values, and so its
  interval holds in 93 to 96 of 100 cases.
- **Macro averages** do from a hundred images a class on; with ten a class, the smallest with two or three,
  they hold the truth in 81 to 97 of 100 cases: they cannot know what the few images of a small class do not
  show.
- **ROC areas** are rarely too narrow, and too wide (up to 100 %) where a class's scores scatter less than the
  others'.
- **Average precision's** interval is wider than need be nearly everywhere.

Other methods were tried and left: a percentile bootstrap by image (macro averages: 60 % near 1, where few
samples hold an error), the delta method without smoothing (the same), DeLong's interval on the logit scale
(ROC areas: 43 to 92 % for 0.99 and more, with ten positives).

This page is made by `python -m benchmarks.statistics.coverage_of_intervals`.
`tests/evaluation/test_coverage.py` draws some of it again.
"""

if __name__ == "__main__":
    main()
