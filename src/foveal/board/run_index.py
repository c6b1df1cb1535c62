"""What the board knows: the runs and groups of one folder by their ids, each read again when it changed."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Final

from foveal.errors import FovealError, RunError
from foveal.experiments.run_list import HEADER, LARGEST, READ, RIGHT, ListedRun, find, look
from foveal.files.run_folder import RunFolder
from foveal.progress import printable

GROUP: Final = "group.json"
"""What makes a folder a group of runs; see `repeat`, whose module imports what trains."""
_Signature = tuple[tuple[int, int] | None, ...]


def identify(name: str) -> str:
    """Derive a short id from the path of a run below the folder."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


@dataclass(kw_only=True)
class Known:
    """The runs of a folder as they are now. Safe to use from several threads.

    Nobody who asks names a path: what is asked for is an id, and an id that no run has is unknown.
    """

    folder: Path
    _read: dict[str, tuple[_Signature, ListedRun]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _comparing: threading.Lock = field(default_factory=threading.Lock)

    def runs(self) -> dict[str, ListedRun]:
        """Look at the folder, and return its runs by their ids. Only what changed is read."""
        with self._lock:
            fresh: dict[str, tuple[_Signature, ListedRun]] = {}
            for path, name, unreadable in find(self.folder):
                key, signature = identify(name), _signature(path)
                before = self._read.get(key)
                if before is not None and before[0] == signature and before[1].state != "training":
                    fresh[key] = before
                else:  # of a run in training the process may be gone without a trace
                    fresh[key] = (signature, look((path, name, unreadable)))
            self._read = fresh
            return {key: listed for key, (_, listed) in fresh.items()}

    def run(self, key: str) -> ListedRun | None:
        """Return the run with that id, or None."""
        with self._lock:
            known = self._read.get(key)
        return self.runs().get(key) if known is None else known[1]

    def groups(self, runs: Sequence[ListedRun]) -> dict[str, tuple[Path, list[ListedRun]]]:
        """Return the groups that runs lie in, by their ids."""
        found: dict[str, tuple[Path, list[ListedRun]]] = {}
        for each in runs:
            parent = each.path.parent
            if each.name != "." and (parent / GROUP).is_file():
                name = each.name.rpartition("/")[0] or "."
                found.setdefault(identify(f"group {name}"), (parent, []))[1].append(each)
        return found

    # ---- what the page asks for, as JSON; every text in it is printable

    def listing(self) -> dict[str, Any]:
        """Tell all runs and groups."""
        runs = self.runs()
        groups = self.groups(list(runs.values()))
        return {
            "folder": printable(str(self.folder.resolve()), 300),
            "header": list(HEADER),
            "right": sorted(RIGHT),
            "runs": [_row(key, each) for key, each in runs.items()],
            "groups": [_group(key, path, inside) for key, (path, inside) in groups.items()],
        }

    def history(self, key: str) -> dict[str, Any] | None:
        """Tell every epoch of a run, or why they cannot be told; None for an id that is unknown."""
        run = self.run(key)
        if run is None:
            return None
        try:
            file = run.path / "history.jsonl"
            if file.is_file() and file.stat().st_size > LARGEST:
                raise RunError(f"{file} is larger than {LARGEST:,} bytes")
            epochs = RunFolder(run.path).history()
        except (FovealError, OSError) as error:
            return {"epochs": [], "refused": printable(str(error), 500)}
        names = ("epoch", "learning_rate", "loss", "accuracy", "validation_loss", "validation_accuracy")
        return {"epochs": [{name: getattr(each, name) for name in names} for each in epochs], "refused": None}

    def report(self, key: str) -> bytes | None:
        """Read a run's report; None for an unknown id, without a report, or if it lies outside the run."""
        run = self.run(key)
        if run is None or not _has_report(run.path):
            return None
        try:
            return (run.path / "report.html").read_bytes()
        except OSError:
            return None

    def comparison(self, keys: Sequence[str], split: str) -> dict[str, Any] | None:
        """Tell what `compare` says of runs or groups, or why it says nothing; None for unknown ids.

        One comparison is made at a time.
        """
        runs = self.runs()
        places = {key: each.path for key, each in runs.items()}
        places |= {key: path for key, (path, _) in self.groups(list(runs.values())).items()}
        if split not in ("test", "validation") or any(key not in places for key in keys):
            return None
        with self._comparing:
            try:
                from foveal.experiments.compare_runs import compare

                return _comparison(compare(*(places[key] for key in keys), split=split))  # type: ignore[arg-type]
            except ModuleNotFoundError as error:
                from foveal.errors import missing_extra

                return {"refused": str(missing_extra(error) or error)}
            except (FovealError, OSError) as error:
                return {"refused": printable(str(error), 500)}


def _signature(path: Path) -> _Signature:
    """Tell whether any of the files changed that are read of a run."""
    found: list[tuple[int, int] | None] = []
    for name in READ:
        try:
            now = (path / name).stat()
            found.append((now.st_mtime_ns, now.st_size))
        except OSError:
            found.append(None)
    return tuple(found)


def _has_report(path: Path) -> bool:
    """Whether there is a report, in the run itself: a link might lead to anything."""
    file = path / "report.html"
    try:
        inside = file.resolve().is_relative_to(path.resolve())
        return inside and file.is_file() and file.stat().st_size <= LARGEST
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return False


def _row(key: str, run: ListedRun) -> dict[str, Any]:
    name, *cells = run.cells()
    return {
        "id": key,
        "cells": [name, *cells],
        "keys": [  # what each column sorts by; None comes last
            name.lower(),
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


def _group(key: str, path: Path, inside: Sequence[ListedRun]) -> dict[str, Any]:
    accuracies = [each.test_accuracy for each in inside if each.test_accuracy is not None]
    recipes = {each.recipe for each in inside if each.recipe is not None}
    average = f"{100 * mean(accuracies):.2f} %" if accuracies else "–"
    return {
        "id": key,
        "cells": [
            printable(path.resolve().name, 100),
            printable(", ".join(sorted(recipes)), 60) or "–",
            str(len(inside)),
            average,
        ],
    }


def _comparison(found: Any) -> dict[str, Any]:  # noqa: ANN401 - a Comparison, whose module imports SciPy
    from foveal.comparison.result import Comparison, class_rows
    from foveal.comparison.verdict import LEVEL

    header, rows = found.rows()
    classes = None
    if isinstance(found, Comparison) and len(found.pairs) == 1:
        changed = [each for each in found.pairs[0].classes if each.p < LEVEL]
        names, cells = class_rows(sorted(changed, key=lambda each: each.difference))
        classes = {"n": len(found.pairs[0].classes), "header": names, "rows": cells}
    return {
        "refused": None,
        "images": f"{found.n:,} {found.split} images",
        "header": header,
        "rows": rows,
        "sentences": [pair.sentence() for pair in found.pairs],
        "classes": classes,
        "note": found.recipes if isinstance(found, Comparison) else None,
    }


def as_json(value: object) -> bytes:
    """Write JSON in ASCII: it holds whatever names a file system does."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
