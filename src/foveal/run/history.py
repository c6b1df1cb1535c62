"""`History`: what every epoch of a run measured, as its user holds it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from foveal.errors import RunError
from foveal.files.run_records import EpochRecord
from foveal.reporting.training_findings import get_validation_loss
from foveal.tables import html_table, text_table


class History(Sequence[EpochRecord]):
    """The epochs of a run, in order. It shows itself as a table.

    >>> history = foveal.Run("runs/first").history
    >>> history[0].epoch, len(history.column("loss")) == len(history)
    (1, True)
    """

    def __init__(self, records: Iterable[EpochRecord]) -> None:
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> EpochRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EpochRecord]: ...
    def __getitem__(self, index: int | slice) -> EpochRecord | Sequence[EpochRecord]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self._records)

    def column(self, name: str) -> list[float | None]:
        """Return one figure of every epoch, such as "validation_loss"."""
        return [getattr(record, name) for record in self._records]

    @property
    def best(self) -> EpochRecord:
        """The epoch whose weights are kept: the lowest validation loss, or the last if nothing validates.

        Raises:
            RunError: No epoch is finished.
        """
        if not self._records:
            raise RunError("no epoch is finished yet")
        validated = [record for record in self._records if record.validation_loss is not None]
        if not validated:
            return self._records[-1]
        return min(validated, key=get_validation_loss)  # the first of equals, as training keeps it

    def _table(self) -> tuple[list[str], list[list[str]]]:
        def number(value: float | None, spec: str) -> str:
            return "–" if value is None else format(value, spec)

        header = ["epoch", "learning rate", "loss", "accuracy", "validation loss", "validation accuracy"]
        rows = [
            [
                str(record.epoch),
                f"{record.learning_rate:g}",
                f"{record.loss:.4f}",
                f"{record.accuracy:.2%}",
                number(record.validation_loss, ".4f"),
                number(record.validation_accuracy, ".2%"),
            ]
            for record in self._records
        ]
        return header, rows

    def __repr__(self) -> str:
        header, rows = self._table()
        return text_table(header, rows, right=set(range(len(header))))

    def _repr_html_(self) -> str:
        return html_table(*self._table())
