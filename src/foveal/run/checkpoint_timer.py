"""When checkpoints are written: after epochs and every so many seconds, while that costs little time."""

import time

from foveal.training.session import Session

MAX_SAVING_SHARE = 0.02
"""The largest share of the time that is spent on checkpoints that only a crash would need."""


class CheckpointTimer:
    """Saves a session when it is due.

    Args:
        session: The session to save.
        interval: The seconds between two checkpoints within an epoch.
    """

    def __init__(self, session: Session, *, interval: float) -> None:
        self._session = session
        self._interval = interval
        self._seconds_to_save = 0.0
        self._saved_at = time.monotonic()

    def save_if_due(self) -> None:
        """Save within an epoch, if the last checkpoint is old enough."""
        pause = max(self._interval, self._seconds_to_save / MAX_SAVING_SHARE)
        if time.monotonic() - self._saved_at >= pause:
            self._save()

    def save_after_epoch(self, *, needed: bool) -> None:
        """Save after an epoch. Where epochs are very short, only `needed` checkpoints are written."""
        if needed or time.monotonic() - self._saved_at >= self._seconds_to_save / MAX_SAVING_SHARE:
            self._save()

    def _save(self) -> None:
        began = time.monotonic()
        self._session.save()
        self._saved_at = time.monotonic()
        self._seconds_to_save = self._saved_at - began
