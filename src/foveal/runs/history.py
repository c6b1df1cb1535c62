"""What every epoch of a run measured, as its user sees it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from foveal.errors import RunError
from foveal.files.run_folder import EpochRecord
from foveal.reporting.training_findings import validation_loss
from foveal.tables import html_table, text_table


class History(Sequence[EpochRecord]):
    """The epochs of a run, in order; `history.column("loss")` is one figure over all of them."""

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

    def column(self, name: str) -> list[Any]:
        """Return one figure of every epoch, such as "validation_loss"."""
        return [getattr(record, name) for record in self._records]

    @property
    def best(self) -> EpochRecord:
        """The epoch whose weights are kept: lowest validation loss; the last where nothing validates."""
        if not self._records:
            raise RunError("no epoch is finished yet")
        judged = [record for record in self._records if record.validation_loss is not None]
        if not judged:
            return self._records[-1]
        return min(judged, key=validation_loss)  # the first of equals, as training keeps it

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        def number(value: float | None, form: str) -> str:
            return "–" if value is None else format(value, form)

        header = ["epoch", "learning rate", "loss", "accuracy", "validation loss", "validation accuracy"]
        rows = [
            [
                str(each.epoch),
                f"{each.learning_rate:g}",
                f"{each.loss:.4f}",
                f"{each.accuracy:.2%}",
                number(each.validation_loss, ".4f"),
                number(each.validation_accuracy, ".2%"),
            ]
            for each in self._records
        ]
        return header, rows

    def __repr__(self) -> str:
        header, rows = self._rows()
        return text_table(header, rows, right=set(range(len(header))))

    def _repr_html_(self) -> str:
        return html_table(*self._rows())
