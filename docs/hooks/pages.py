"""Pages that MkDocs makes from the code: every command, every public Python name, every decision.

MkDocs calls `on_config` and `on_files` when it builds the site. Nothing here is written to disk.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from foveal.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]
PROJECT_FILES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
GUIDES = {
    "train": ("first-model", "time-budgets"),
    "evaluate": ("first-model", "report"),
    "report": ("report",),
    "predict": ("first-model",),
    "resume": ("resuming",),
    "compare": ("comparing",),
    "repeat": ("comparing",),
    "tune": ("comparing",),
    "runs": ("watching",),
    "board": ("watching",),
}
"""The guides that a command's page links to, by the command's name."""
PYTHON_PAGES = {
    "functions": "Functions",
    "classes": "Objects",
    "recipes": "Recipes",
    "errors": "Errors",
}
"""The title of each page of Python names, by its file name."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation with the pages that are made here, and with every decision."""
    decisions = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    additions = {
        "Commands": [f"commands/{_slug(name)}.md" for name, _ in iter_commands()],
        "Python": [f"python/{page}.md" for page, names in group_public_names().items() if names],
        "Decisions": [f"decisions/{name}" for name in decisions],
    }
    for section in config.nav or []:
        for title, pages in section.items():
            pages.extend(additions.get(title, ())) if isinstance(pages, list) else None
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code and from the repository's own files."""
    pages = {f"commands/{_slug(name)}.md": describe_command(name, parser) for name, parser in iter_commands()}
    pages["commands/index.md"] = _list_commands()
    pages |= {f"python/{page}.md": _list_names(page) for page, names in group_public_names().items() if names}
    pages["python/index.md"] = _introduce_python()
    pages["decisions/index.md"] = _list_decisions()
    pages |= {f"project/{name.lower()}": _adapt_project_file(name) for name in PROJECT_FILES}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def iter_commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command that can be run, such as "train" or "data get", with its parser."""
    yield from _iter_subcommands(build_parser(), prefix="")


def _iter_subcommands(
    parser: argparse.ArgumentParser, prefix: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                grandchildren = list(_iter_subcommands(child, f"{prefix}{name} "))
                yield from grandchildren or [(f"{prefix}{name}", child)]


def describe_command(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the page of a command as Markdown: what it does, its usage, its arguments and options."""
    parser.formatter_class = partial(argparse.HelpFormatter, width=72, max_help_position=24)
    usage = parser.format_usage().removeprefix("usage: ").strip()
    parts = [f"# foveal {name}", _summarise(name, parser), f"```text\n{usage}\n```"]
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    arguments = [action for action in actions if not action.option_strings]
    options = [action for action in actions if action.option_strings]
    for title, group in (("Arguments", arguments), ("Options", options)):
        if group:
            rows = [f"| {_name_action(each)} | {_explain_action(each, parser)} |" for each in group]
            parts.append("\n".join([f"## {title}", "", f"| {title[:-1]} | Meaning |", "|---|---|", *rows]))
    parts += [
        f"Only one of these can be given: {', '.join(f'`{each.option_strings[0]}`' for each in members)}."
        for group in parser._mutually_exclusive_groups
        if (members := group._group_actions)
    ]
    links = [
        f"[{_read_title(f'docs/guides/{guide}.md')}](../guides/{guide}.md)" for guide in GUIDES.get(name, ())
    ]
    links.append("[exit codes and JSON](../contract.md)")
    parts.append(f"See also: {', '.join(links)}.")
    return "\n\n".join(parts) + "\n"


def _summarise(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the parser's description, or else the help text of the command as a sentence."""
    text = parser.description or _find_help(build_parser(), name.split())
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _find_help(parser: argparse.ArgumentParser, words: list[str]) -> str:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            if len(words) > 1:
                return _find_help(action.choices[words[0]], words[1:])
            return next(each.help or "" for each in action._choices_actions if each.dest == words[0])
    return ""


def _name_action(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = "" if action.nargs == 0 else f" {action.metavar or _join_choices(action, ',', '{}')}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _join_choices(action: argparse.Action, separator: str, braces: str) -> str:
    if action.choices is None:
        return action.dest.upper()
    return braces[:1] + separator.join(str(choice) for choice in action.choices) + braces[1:]


def _explain_action(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", text)


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _list_commands() -> str:
    rows = [
        f"| [`foveal {name}`]({_slug(name)}.md) | {_summarise(name, _without_description(parser))} |"
        for name, parser in iter_commands()
    ]
    text = "Every command explains itself: `foveal VERB --help`. These pages are made from the same text."
    return "\n".join(["# Commands", "", text, "", "| Command | What it does |", "|---|---|", *rows, ""])


def _without_description(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.description = None
    return parser


def find_public_names() -> dict[str, str]:
    """Return where each name in `foveal.__all__` is defined: "foveal.run.train.train" for "train"."""
    tree = ast.parse((ROOT / "src" / "foveal" / "__init__.py").read_text(encoding="utf-8"))
    homes = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    import foveal

    return {name: homes[name] for name in foveal.__all__ if name != "__version__"}


def group_public_names() -> dict[str, list[str]]:
    """Return the names in `foveal.__all__` by the page that describes them."""
    pages: dict[str, list[str]] = {page: [] for page in PYTHON_PAGES}
    for name, home in find_public_names().items():
        pages[_choose_page(home)].append(name)
    return pages


def _choose_page(home: str) -> str:
    module, _, name = home.rpartition(".")
    if module == "foveal.errors":
        return "errors"
    if module.startswith("foveal.recipe."):
        return "recipes"
    path = ROOT / "src" / Path(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    definitions = {
        node.name: node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    return "functions" if isinstance(definitions.get(name), ast.FunctionDef) else "classes"


def _list_names(page: str) -> str:
    homes = find_public_names()
    parts = [f"# {PYTHON_PAGES[page]}"]
    for name in group_public_names()[page]:
        parts.append(f"::: {homes[name]}\n    options:\n      heading: {name}\n      toc_label: {name}")
    return "\n\n".join(parts) + "\n"


def _introduce_python() -> str:
    homes, pages = find_public_names(), group_public_names()
    parts = ["# Python", "Everything here is imported from `foveal`; nothing else is public."]
    for page, names in pages.items():
        links = ", ".join(f"[`{name}`][{homes[name]}]" for name in names)
        if names:
            parts.append(f"**[{PYTHON_PAGES[page]}]({page}.md):** {links}.")
    return "\n\n".join(parts) + "\n"


def _list_decisions() -> str:
    paths = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    rows = [f"- [{_read_title(path)}]({path.name})" for path in paths]
    text = "Why things are as they are. Each page tells one decision, what it rests on, and what was left."
    return "\n".join(["# Decisions", "", text, "", *rows, ""])


def _read_title(path: str | Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _adapt_project_file(name: str) -> str:
    """Return a file of the repository with its links as they are within the site.

    Links into `docs/` are shortened; links to other files of the repository become plain text.
    """
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|\.\./|#)[^)]*\)", r"\1", text)
