"""Results as Markdown tables."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.measurement.journal import Line


def format_values(values: Iterable[float | None], form: str) -> str:
    """Return the mean with standard deviation and range, each number in the given format.

    Values that are None were not measured. Without any value the text is empty; a single value stands alone.
    """
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    if len(numbers) == 1:
        return format(numbers[0], form)
    mean, deviation = statistics.mean(numbers), statistics.stdev(numbers)
    unsigned = form.removeprefix("+")
    return (
        f"{format(mean, form)} ± {format(deviation, unsigned)} "
        f"({format(min(numbers), form)} to {format(max(numbers), form)})"
    )


def group_lines(lines: Iterable[Line], names: Sequence[str]) -> dict[tuple[Any, ...], list[Line]]:
    """Group lines by some of their values, sorted by these values. A list counts as its joined words."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        values = (line[name] for name in names)
        key = tuple(" ".join(value) if isinstance(value, list) else value for value in values)
        groups.setdefault(key, []).append(line)
    return dict(sorted(groups.items()))


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def format_code(words: str) -> str:
    """Return words as Markdown code; no words give an empty text."""
    return f"`{words}`" if words else ""


def describe_conditions(lines: Sequence[Line]) -> str:
    """Return on which hardware and with which versions the lines were measured."""

    def join_distinct(values: Iterable[object]) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    if not lines:
        return "nothing is measured yet"
    return (
        f"{join_distinct(line['hardware']['processor'] for line in lines)}, "
        f"cores {join_distinct(line['hardware']['cores'] for line in lines)}, "
        f"threads {join_distinct(line['threads'] for line in lines)}; "
        f"Foveal {join_distinct(line['versions']['commit'] for line in lines)}, "
        f"torch {join_distinct(line['versions']['torch'] for line in lines)}"
    )
