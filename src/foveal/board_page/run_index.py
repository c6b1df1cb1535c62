"""The runs and groups of one folder by their ids. A run is read again only when its files change."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from foveal.errors import FovealError, RunError
from foveal.experiments.run_list import (
    COLUMNS,
    MAX_FILE_BYTES,
    NUMBER_COLUMNS,
    RUN_FILES,
    ListedRun,
    find_runs,
    read_run,
)
from foveal.files.run_folder import RunFolder
from foveal.progress import printable

if TYPE_CHECKING:
    from foveal.comparison.recipes import RecipeComparison
    from foveal.comparison.result import Comparison

GROUP_FILE: Final = "group.json"
"""The file that makes a folder a group. The module that writes it is not imported here: it imports torch."""
_Signature = tuple[tuple[int, int] | None, ...]
_Groups = dict[str, tuple[Path, list[ListedRun]]]


def make_id(name: str) -> str:
    """Return a short id for a run, made from its path below the folder."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


@dataclass(kw_only=True)
class RunIndex:
    """The runs of a folder as they are now. Several threads may use it.

    Requests name ids, never paths. An id that no run has is unknown.
    """

    folder: Path
    """The folder whose runs are shown."""
    _runs: dict[str, tuple[_Signature, ListedRun]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _compare_lock: threading.Lock = field(default_factory=threading.Lock)

    def read_runs(self) -> dict[str, ListedRun]:
        """Return the runs of the folder by their ids. Only runs that have changed are read."""
        with self._lock:
            current: dict[str, tuple[_Signature, ListedRun]] = {}
            for location in find_runs(self.folder):
                run_id, signature = make_id(location.name), _read_signature(location.path)
                before = self._runs.get(run_id)
                if before is not None and before[0] == signature and before[1].state != "training":
                    current[run_id] = before
                else:  # a run in training is always read: its process may have ended and left no trace
                    current[run_id] = (signature, read_run(location))
            self._runs = current
            return {run_id: run for run_id, (_, run) in current.items()}

    def get_run(self, run_id: str) -> ListedRun | None:
        """Return the run with an id, or None if the id is unknown."""
        with self._lock:
            entry = self._runs.get(run_id)
        return self.read_runs().get(run_id) if entry is None else entry[1]

    # ---- what the page requests, as JSON; every text in it is printable

    def build_listing(self) -> dict[str, Any]:
        """Return all runs and groups as JSON."""
        runs = self.read_runs()
        groups = _find_groups(list(runs.values()))
        return {
            "folder": printable(str(self.folder.resolve()), 300),
            "header": list(COLUMNS),
            "right": sorted(NUMBER_COLUMNS),
            "runs": [_run_to_json(run_id, run) for run_id, run in runs.items()],
            "groups": [
                _group_to_json(group_id, path, members) for group_id, (path, members) in groups.items()
            ],
        }

    def read_history(self, run_id: str) -> dict[str, Any] | None:
        """Return the epochs of a run as JSON, or why they cannot be read; None for an unknown id."""
        run = self.get_run(run_id)
        if run is None:
            return None
        try:
            file = run.path / "history.jsonl"
            if file.is_file() and file.stat().st_size > MAX_FILE_BYTES:
                raise RunError(f"{file} is larger than {MAX_FILE_BYTES:,} bytes")
            records = RunFolder(run.path).history()
        except (FovealError, OSError) as error:
            return {"epochs": [], "refused": printable(str(error), 500)}
        names = ("epoch", "learning_rate", "loss", "accuracy", "validation_loss", "validation_accuracy")
        epochs = [{name: getattr(record, name) for name in names} for record in records]
        return {"epochs": epochs, "refused": None}

    def read_report(self, run_id: str) -> bytes | None:
        """Return the report of a run.

        It is None if the id is unknown, there is no report, or the report lies outside the run folder.
        """
        run = self.get_run(run_id)
        if run is None or not _has_report(run.path):
            return None
        try:
            return (run.path / "report.html").read_bytes()
        except OSError:
            return None

    def compare(self, ids: Sequence[str], split: str) -> dict[str, Any] | None:
        """Return the comparison of runs or groups as JSON, or why there is none; None for unknown ids.

        Only one comparison is computed at a time.
        """
        runs = self.read_runs()
        paths = {run_id: run.path for run_id, run in runs.items()}
        paths |= {group_id: path for group_id, (path, _) in _find_groups(list(runs.values())).items()}
        if split not in ("test", "validation") or any(run_id not in paths for run_id in ids):
            return None
        with self._compare_lock:
            try:
                from foveal.experiments.compare_runs import compare

                comparison = compare(*(paths[run_id] for run_id in ids), split=split)  # type: ignore[arg-type]
                return _comparison_to_json(comparison)
            except ModuleNotFoundError as error:
                from foveal.errors import missing_extra

                return {"refused": str(missing_extra(error) or error)}
            except (FovealError, OSError) as error:
                return {"refused": printable(str(error), 500)}


def _find_groups(runs: Sequence[ListedRun]) -> _Groups:
    """Return the groups that runs lie in, by their ids: each group's folder and runs."""
    groups: _Groups = {}
    for run in runs:
        parent = run.path.parent
        if run.name != "." and (parent / GROUP_FILE).is_file():
            name = run.name.rpartition("/")[0] or "."
            groups.setdefault(make_id(f"group {name}"), (parent, []))[1].append(run)
    return groups


def _read_signature(path: Path) -> _Signature:
    """Return the time and size of every file that is read of a run. They change when a file changes."""
    signature: list[tuple[int, int] | None] = []
    for name in RUN_FILES:
        try:
            status = (path / name).stat()
            signature.append((status.st_mtime_ns, status.st_size))
        except OSError:
            signature.append(None)
    return tuple(signature)


def _has_report(path: Path) -> bool:
    """Whether there is a report inside the run folder. A link might lead to any other file."""
    file = path / "report.html"
    try:
        is_inside = file.resolve().is_relative_to(path.resolve())
        return is_inside and file.is_file() and file.stat().st_size <= MAX_FILE_BYTES
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return False


def _run_to_json(run_id: str, run: ListedRun) -> dict[str, Any]:
    cells = run.format_cells()
    return {
        "id": run_id,
        "cells": cells,
        "keys": [  # the values by which the columns are sorted; None comes last
            cells[0].lower(),
            run.state,
            run.test_accuracy,
            run.validation_accuracy,
            run.epochs,
            run.seconds,
            None if run.recipe is None else printable(run.recipe, 40).lower(),
            run.seed,
            None if run.date is None else run.date.timestamp(),
        ],
        "live": run.state == "training" and run.reason is None,
        "reason": None if run.reason is None else printable(run.reason, 300),
        "report": _has_report(run.path),
    }


def _group_to_json(group_id: str, path: Path, runs: Sequence[ListedRun]) -> dict[str, Any]:
    accuracies = [run.test_accuracy for run in runs if run.test_accuracy is not None]
    recipes = {run.recipe for run in runs if run.recipe is not None}
    mean_accuracy = f"{100 * mean(accuracies):.2f} %" if accuracies else "–"
    return {
        "id": group_id,
        "cells": [
            printable(path.resolve().name, 100),
            printable(", ".join(sorted(recipes)), 60) or "–",
            str(len(runs)),
            mean_accuracy,
        ],
    }


def _comparison_to_json(comparison: "Comparison | RecipeComparison") -> dict[str, Any]:
    from foveal.comparison.result import Comparison, lay_out_classes
    from foveal.comparison.verdict import SIGNIFICANCE_LEVEL

    header, rows = comparison.lay_out()
    classes = note = None
    if isinstance(comparison, Comparison):
        note = comparison.recipes
        if len(comparison.pairs) == 1:
            (pair,) = comparison.pairs
            changed = [row for row in pair.classes if row.p < SIGNIFICANCE_LEVEL]
            names, cells = lay_out_classes(sorted(changed, key=lambda row: row.difference))
            classes = {"n": len(pair.classes), "header": names, "rows": cells}
    return {
        "refused": None,
        "images": f"{comparison.n:,} {comparison.split} images",
        "header": header,
        "rows": rows,
        "sentences": [pair.describe() for pair in comparison.pairs],
        "classes": classes,
        "note": note,
    }


def encode_json(value: object) -> bytes:
    """Return a value as JSON in ASCII, which holds every name that a file system can have."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
