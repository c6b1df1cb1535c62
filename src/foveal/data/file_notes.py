"""What is noted of image files that are used, but not as a whole: their number, and the first names."""

from collections.abc import Callable, Collection, Mapping, Sequence

from foveal.progress import printable

MAX_NAMES = 3
"""The number of files that a note names."""

_SENTENCES: dict[str, Callable[[int], str]] = {
    "pages": lambda n: f"{_have(n)} several pages or frames: the first is used",
    "channels": lambda n: (
        f"{_have(n)} more channels than colour and transparency: the further ones are dropped"
    ),
    "profile": lambda n: f"{_have(n)} a colour profile: converted to sRGB",
    "broken profile": lambda n: f"{_have(n)} a colour profile that does not fit or is broken: it is ignored",
    "transparent": lambda n: f"{_have(n)} transparent pixels: laid over the background (--background)",
    "dim": lambda n: (
        f"{_have(n)} fewer than 20 of the 256 grey levels of the data set's range: perhaps another scale or "
        "number of bits; bring all deep images to one scale"
    ),
    "outside": lambda n: (
        f"{_have(n)} values outside the data set's range of deep images: they become 0 or 255"
    ),
}
"""The sentence for each kind of note."""
KINDS = tuple(_SENTENCES)
"""The kinds of notes."""


def _have(n: int) -> str:
    return "1 file has" if n == 1 else f"{n:,} files have"


def describe_notes(paths: Sequence[str], notes: Mapping[int, Collection[str]]) -> tuple[str, ...]:
    """Return a sentence for each kind of note that there is.

    Args:
        paths: The paths of all files.
        notes: The kinds of notes of some files, by their index.
    """
    paths_of: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for index in sorted(notes):
        for kind in notes[index]:
            if kind in paths_of:
                paths_of[kind].append(paths[index])
    return tuple(
        f"{_SENTENCES[kind](len(found))} ({_name_first(found)})" for kind, found in paths_of.items() if found
    )


def _name_first(paths: Sequence[str]) -> str:
    return ", ".join(printable(path) for path in paths[:MAX_NAMES]) + (" …" if len(paths) > MAX_NAMES else "")
