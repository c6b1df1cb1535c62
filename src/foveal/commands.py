"""Commands that messages tell people to type: they can be pasted into a shell as they are printed."""

import os
import shlex


def show_command(verb: str, *words: str | os.PathLike[str], rest: str = "") -> str:
    r"""Return a command of Foveal's as a person types it.

    Paths that begin with `-` get `./` before them, so that they are no options. Words with control
    characters, which would break the line, are quoted as `$'…'`, which bash and zsh understand.

    >>> from pathlib import Path
    >>> show_command("predict", Path("my runs/-1"), rest="IMAGE …")
    "foveal predict 'my runs/-1' IMAGE …"
    >>> show_command("resume", Path("-1"))
    'foveal resume ./-1'

    Args:
        verb: The verb, or verbs, such as "data audit".
        words: Paths, and options with their values. Options are plain strings, as is every word that is safe.
        rest: What is shown behind them as it is, such as "IMAGE …".
    """
    shown = ["foveal", verb, *(quote_word(word) for word in words), *([rest] if rest else [])]
    return " ".join(shown)


def quote_word(word: str | os.PathLike[str]) -> str:
    """Quote a word of a command. A path that begins with `-` gets `./` before it."""
    text = os.fspath(word)
    if text.startswith("-") and not isinstance(word, str):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escape, text))}'"


def _escape(character: str) -> str:
    """Escape a character for a word between `$'` and `'`."""
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    # Bytes of a name that are no text come as lone surrogates, and go back to the bytes that they were.
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
