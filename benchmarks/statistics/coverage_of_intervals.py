"""How often the intervals hold the truth, by simulation: `docs/intervals.md`.

    python benchmarks/coverage_of_intervals.py > docs/intervals.md

Everything is drawn from a seed, so the page is the same everywhere. A few minutes.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score

from foveal.evaluation import roc
from foveal.evaluation.intervals import auc_interval, average_precision_interval, f1_interval, wilson_interval
from foveal.evaluation.macro_averages import macro_average

Interval = tuple[float, float]
Random = np.random.Generator
Sample = Callable[..., tuple[NDArray[np.bool_], NDArray[np.float64]]]
SIZES = (100, 1_000, 10_000)
TRUTHS = (0.05, 0.2, 0.5, 0.8, 0.95)
WANTED = (0.935, 0.965)


@dataclass(frozen=True)
class Case:
    """A figure whose true value is known, and a way to draw a sample and its interval."""

    n: int
    about: str
    truth: float
    draw: Callable[[Random], Interval]

    def held(self, draws: int) -> float:
        """Return how often the interval holds the truth."""
        random = np.random.default_rng(0)
        return float(np.mean([low <= self.truth <= high for low, high in map(self.draw, [random] * draws)]))


def shares() -> Iterator[Case]:
    """Accuracy, recall, precision: Wilson."""
    for n in SIZES:
        for truth in TRUTHS:
            yield Case(
                n,
                f"{truth:g}",
                truth,
                lambda random, n=n, truth=truth: wilson_interval(int(random.binomial(n, truth)), n),  # type: ignore[misc]
            )


def f1_scores() -> Iterator[Case]:
    """F1 of a class that is a tenth of the images, misses and false alarms one to one."""
    for n in SIZES:
        for truth in TRUTHS:
            found = 0.1 * min(1.0, truth)
            others = 2 * found * (1 - truth) / truth
            if found + others > 1:
                found, others = found / (found + others), others / (found + others)

            def draw(random: Random, n: int = n, found: float = found, others: float = others) -> Interval:
                hits, errors, _ = random.multinomial(n, [found, others, max(0.0, 1 - found - others)])
                return f1_interval(int(hits), int(errors))

            yield Case(n, f"{truth:g}", truth, draw)


def macro_averages(figure: str) -> Iterator[Case]:
    """Macro averages over ten classes, of equal size and from 1 to 10, errors falling unevenly."""
    for n in SIZES:
        for accuracy in TRUTHS:
            for ratio in (1, 10):
                cells = _population(10, accuracy, ratio)
                true, predicted, hits = cells.sum(axis=1), cells.sum(axis=0), np.diagonal(cells)
                truth = {
                    "recall": hits / true,
                    "precision": hits / predicted,
                    "f1": 2 * hits / (true + predicted),
                }[figure].mean()

                def draw(random: Random, n: int = n, cells: NDArray[np.float64] = cells) -> Interval:
                    confusion = random.multinomial(n, cells.ravel()).reshape(cells.shape)
                    interval: Interval = getattr(macro_average(confusion), f"{figure}_interval")
                    return interval

                sizes = "equal classes" if ratio == 1 else "sizes 1 to 10"
                yield Case(n, f"{accuracy:g}, {sizes}", float(truth), draw)


def _population(k: int, accuracy: float, ratio: float) -> NDArray[np.float64]:
    """Return the shares (K, K) of true and predicted classes in a population."""
    random = np.random.default_rng(5)
    sizes = ratio ** -np.linspace(0, 1, k)
    sizes /= sizes.sum()
    recall = np.clip(accuracy + accuracy * (1 - accuracy) * random.normal(0, 0.5, k), 0.01, 0.995)
    cells = np.zeros((k, k))
    for true in range(k):
        others = np.arange(k) != true
        cells[true, others] = (1 - recall[true]) * random.dirichlet(np.full(k - 1, 0.7))
        cells[true, true] = recall[true]
    shares: NDArray[np.float64] = cells * sizes[:, None]
    return shares


def areas() -> Iterator[Case]:
    """ROC areas of a class that is a tenth of the images, scattering like the others or not."""
    for case, truth, sample in _scores():
        n, about = case

        def draw(random: Random, sample: Sample = sample) -> Interval:
            ranked = roc.rank_scores(*sample(random))
            assert ranked.area is not None
            return auc_interval(ranked.area, ranked.area_variance, ranked.positives, ranked.negatives)

        yield Case(n, about, truth, draw)


def precision_areas() -> Iterator[Case]:
    """Average precision, on the same scores."""
    for case, _, sample in _scores():
        n, about = case
        large = [sample(np.random.default_rng(seed), 100_000) for seed in range(5)]
        truth = float(np.mean([average_precision_score(*each) for each in large]))

        def draw(random: Random, sample: Sample = sample) -> Interval:
            ranked = roc.rank_scores(*sample(random))
            assert ranked.average_precision is not None
            return average_precision_interval(ranked.average_precision, ranked.positives)

        yield Case(n, f"{about}, AP {truth:.2f}", truth, draw)


def _scores() -> Iterator[tuple[tuple[int, str], float, Sample]]:
    for n in SIZES:
        for area in (0.6, 0.8, 0.9, 0.95, 0.99, 0.998):
            for scatter in (0.5, 1.0, 2.0):
                shift = stats.norm.ppf(area) * (1 + scatter**2) ** 0.5

                def sample(
                    random: Random, n: int = n, shift: float = shift, scatter: float = scatter
                ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
                    positive = np.arange(n) < n // 10
                    scores = random.normal(size=n)
                    return positive, np.where(positive, shift + scatter * scores, scores)

                yield (n, f"area {area:g}, positives scatter {scatter:g} times as much"), area, sample


FIGURES: dict[str, tuple[str, Callable[[], Iterator[Case]], int]] = {
    "Shares: accuracy, recall, precision": ("Wilson's interval.", shares, 2000),
    "F1 of a class": ("Wilson's interval for Jaccard's index, carried over.", f1_scores, 2000),
    "Macro recall": (
        "The delta method by image, on counts smoothed as Agresti and Coull do.",
        lambda: macro_averages("recall"),
        2000,
    ),
    "Macro precision": ("The same.", lambda: macro_averages("precision"), 2000),
    "Macro F1": ("The same.", lambda: macro_averages("f1"), 2000),
    "ROC area": (
        "Newcombe's method 5, its variance raised to DeLong's where that is larger.",
        areas,
        2000,
    ),
    "Average precision": ("Wilson's interval by the number of positives.", precision_areas, 500),
}


def main() -> None:
    """Print the page."""
    print(_PAGE)
    for name, (method, cases, draws) in FIGURES.items():
        print(f"## {name}\n\n{method} {draws:,} draws a line.\n")
        print("| images | true value | held |\n|---:|---|---:|")
        for case in cases():
            held = case.held(draws)
            mark = "" if WANTED[0] <= held <= WANTED[1] else " \\*"
            print(f"| {case.n:,} | {case.about} | {held:.1%}{mark} |")
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

This page is made by `python benchmarks/coverage_of_intervals.py`; `tests/evaluation/test_coverage.py` draws
some of it again.
"""

if __name__ == "__main__":
    main()
