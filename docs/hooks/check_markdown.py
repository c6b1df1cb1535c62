"""Check the form of Markdown files.

    python docs/hooks/check_markdown.py [FILE ...]

By default it takes all Markdown files of the repository. It prints a line for each fault, and exits with 1 if
there is any. A line of prose has at most 120 characters. Tables, code and what programs write between
`<!-- name -->` and `<!-- end -->` may have more.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINE_LENGTH = 120


def main(names: list[str]) -> int:
    """Check the files, print the faults and return the exit code."""
    if not names:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    faults = [f"{name}:{line}: {fault}" for name in names for line, fault in find_faults(Path(name))]
    print("\n".join(faults), end="\n" if faults else "")  # noqa: T201 - its purpose
    return 1 if faults else 0


def find_faults(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each fault of a file with the number of its line."""
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield text.count("\n"), "the file must end with exactly one newline"
    headings = 0
    lines = text.split("\n")
    for number, (line, is_prose) in enumerate(zip(lines, _mark_prose(lines), strict=True), start=1):
        if line != line.rstrip() or "\t" in line:
            yield number, "no tabs, and no blanks at the end of a line"
        if line.strip() == "```" and is_prose:
            yield number, "name the language of this code block: sh, python, text or json"
        if is_prose and len(line) > MAX_LINE_LENGTH and not line.startswith("|"):
            yield number, f"{len(line)} characters; at most {MAX_LINE_LENGTH}"
        headings += is_prose and line.startswith("# ")
        if is_prose:
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", re.sub(r"`[^`]*`", "", line)):
                if (
                    "://" not in target
                    and not (path.parent / target).exists()
                    and not _is_generated(path, target)
                ):
                    yield number, f"the link to {target} leads nowhere"
    if headings != 1:
        yield 1, f"{headings} headings of the first level; there must be one"


def _mark_prose(lines: list[str]) -> list[bool]:
    """Return for each line whether a person wrote it as prose. The line that opens a code block counts."""
    in_code = in_generated = False
    marks = []
    for line in lines:
        if re.fullmatch(r"<!-- \w+ -->", line):
            in_generated = line != "<!-- end -->"
        marks.append(not in_generated and not in_code)
        if line.lstrip().startswith("```"):
            in_code = not in_code
    return marks


def _is_generated(path: Path, target: str) -> bool:
    """Return whether the link leads to a page that only the built site has."""
    page = target.removeprefix("../")
    return "docs" in path.parts and page.startswith(("commands/", "python/", "project/"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
