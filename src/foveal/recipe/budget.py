"""A time budget, as a person writes it: `30s`, `5m` or `1h`."""

import math
import re
from dataclasses import dataclass

from foveal.errors import RecipeError

_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Budget:
    """The time that a command may take, from its start to its end.

    >>> foveal.Budget.parse("90s")
    Budget(seconds=90.0)
    >>> str(foveal.Budget(seconds=300))
    '5m'
    """

    seconds: float
    """The whole budget in seconds."""

    def __post_init__(self) -> None:
        if not (0 < self.seconds < math.inf):
            raise RecipeError(f"the budget is {self.seconds:g} seconds; it must be above 0")

    @classmethod
    def parse(cls, value: "str | Budget") -> "Budget":
        """Read a budget such as "30s", "2.5m" or "1h"; a `Budget` is returned as it is.

        Raises:
            RecipeError: The text is no number followed by s, m or h; or the time is not above 0.
        """
        if isinstance(value, Budget):
            return value
        match = (
            re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smh])\s*", value)
            if isinstance(value, str)
            else None
        )
        if match is None:
            raise RecipeError(f"the budget is {value!r}; write a number and a unit: 30s, 5m or 1h")
        return cls(seconds=float(match[1]) * _SECONDS_PER_UNIT[match[2]])

    def __str__(self) -> str:
        for unit, seconds in reversed(_SECONDS_PER_UNIT.items()):
            count = self.seconds / seconds
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        return f"{self.seconds:g}s"
