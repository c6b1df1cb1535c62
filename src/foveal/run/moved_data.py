"""Where the data of a run are now: where they were, or where the user says that they are."""

import os
from collections.abc import Sequence
from pathlib import Path

from foveal.commands import show_command
from foveal.data.arrays import Arrays
from foveal.data.label_columns import parse_columns
from foveal.data.options import DataOptions, DataSource
from foveal.errors import DataError
from foveal.files.run_records import EnvironmentRecord, TableRecord
from foveal.progress import printable


def record_table(data: DataOptions) -> TableRecord | None:
    """Return what `environment.json` keeps of a table of labels, or None where the data are a folder.

    The folder of the images is kept relative to the table, so that both can be moved together.
    """
    if not data.names_table:
        return None
    assert not isinstance(data.source, Arrays)
    images = data.images
    if images is not None:
        try:
            images = os.path.relpath(Path(images).resolve(), Path(data.source).resolve().parent)
        except ValueError:  # another drive of Windows
            images = str(Path(images).resolve())
    return TableRecord(
        images=images, columns={str(role): name for role, name in parse_columns(data.columns).items()}
    )


def locate_data(run: Path, then: EnvironmentRecord, moved: DataSource | None) -> DataOptions:
    """Return the options that open the data of a run where they are now.

    Args:
        run: The run folder, for messages.
        then: Where the data were, and how they were divided.
        moved: Where they are now: a folder, a table, the folder of the table, or options with the folder of
            the images too. None if they were not moved.

    Raises:
        DataError: The data are not there.
    """
    was = Path(then.data)
    given = None if moved is None else DataOptions.of(moved)
    if given is not None and isinstance(given.source, Arrays):
        raise DataError(f"{run} was trained on files; name their folder, not images in memory")
    source = was if given is None else Path(given.source)  # type: ignore[arg-type]
    if then.table is not None and given is not None and source.is_dir():
        source /= was.name
    if not source.exists():
        raise DataError(_describe_gone(run, was, source, is_moved=given is not None))
    images = None if given is None else given.images
    columns: Sequence[str] | None = None
    if then.table is not None:
        columns = [f"{role}={name}" for role, name in then.table.columns.items()] or None
        if images is None and then.table.images is not None:
            images = source.parent / then.table.images
    return DataOptions(
        source,
        validation=then.validation,
        group=then.group,
        images=images,
        columns=columns,
        layout=then.layout,
    )


def make_training_command(run: Path, then: EnvironmentRecord, settings: Sequence[str] = ()) -> str:
    """Return a command that trains the run's recipe anew on the same data, with changed settings."""
    words: list[str | Path] = [Path(then.data), "--recipe", run / "recipe.json"]
    for flag, value in (
        ("--validation", then.validation),
        ("--group", then.group),
        ("--layout", then.layout),
    ):
        words += [] if value is None else [f"{flag}={value}"]
    if then.table is not None:
        if then.table.images is not None:
            words.append(f"--images={os.path.normpath(Path(then.data).parent / then.table.images)}")
        words += [f"--columns={role}={name}" for role, name in then.table.columns.items()]
    words += [f"--seed={then.seed}"] if then.seed else []
    words += [word for setting in settings for word in ("--set", setting)]
    return show_command("train", *words)


def describe_other_classes(before: Sequence[str], now: Sequence[str]) -> str | None:
    """Say in which classes two data sets differ, or return None if they have the same in the same order."""
    if tuple(before) == tuple(now):
        return None
    gone = [printable(name, 60) for name in before if name not in now]
    new = [printable(name, 60) for name in now if name not in before]
    parts = [
        f"{', '.join(names[:5])} {'is' if len(names) == 1 else 'are'} {what}"
        for names, what in ((gone, "gone"), (new, "new"))
        if names
    ]
    return " and ".join(parts) or "they stand in another order"


def _describe_gone(run: Path, was: Path, source: Path, *, is_moved: bool) -> str:
    if is_moved:
        return f"{source} does not exist; name the place where the data of {run} are now: --data DIR"
    return (
        f"{was}, which {run} was trained on, is not there any more; "
        f"name the place where it is now: --data DIR"
    )
