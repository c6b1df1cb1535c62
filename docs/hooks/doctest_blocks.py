"""Show the examples in docstrings as code: to Markdown, the three marks of `>>>` are three quotations."""

from typing import Any

import griffe


class DoctestBlocks(griffe.Extension):
    """Put each example that begins with `>>>` into a code block, before a docstring is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 - griffe's own signature
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fence_doctests(obj.docstring.value)


def fence_doctests(text: str) -> str:
    """Return a docstring with its doctests in code blocks. A doctest ends at the next empty line."""
    lines: list[str] = []
    in_example = False
    for line in [*text.split("\n"), ""]:
        indent = line[: len(line) - len(line.lstrip())]
        if line.lstrip().startswith(">>>") and not in_example:
            in_example = True
            lines.append(f"{indent}```pycon")
            example_indent = indent
        elif not line.strip() and in_example:
            in_example = False
            lines.append(f"{example_indent}```")
        lines.append(line)
    return "\n".join(lines[:-1])
