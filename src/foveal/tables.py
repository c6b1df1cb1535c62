"""Tables as plain text for a terminal and as HTML for a notebook."""

from collections.abc import Sequence
from html import escape


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: set[int] | None = None) -> str:
    """Lay out a plain table: columns are two spaces apart, those in `right` are aligned to the right."""
    right = right or set()
    cells = [header, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

    def join(row: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    return "\n".join([join(header), join(["─" * width for width in widths]), *map(join, rows)])


def html_table(
    header: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    *,
    tooltips: Sequence[str] | None = None,
) -> str:
    """Lay out an HTML table with every text escaped; `tooltips` has a text for each row.

    Without a `header` the first cell of each row is that row's heading.
    """
    body = ""
    for index, row in enumerate(rows):
        title = "" if tooltips is None else f' title="{escape(tooltips[index])}"'
        first = "td" if header is not None else "th"
        body += f"<tr{title}>{_cells(row[:1], first)}{_cells(row[1:], 'td')}</tr>"
    if header is None:
        return f"<table>{body}</table>"
    return f"<table><thead><tr>{_cells(header, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _cells(texts: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
