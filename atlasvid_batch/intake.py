"""Whether a server takes jobs: one that answers with an error, or on which job after job fails, is
left alone for a while.
"""

from __future__ import annotations

import time

from .board import MOST_RETRY_S, RETRY_S

SICK = 3  # different jobs that failed on a server in a row


class Intake:
    """A pause that grows with every job that is turned away; and whose fault that is: the job's,
    where the server took others after it and turns away none but it.

    `turned_away`: keys of jobs that should come last here.
    """

    def __init__(self) -> None:
        self.turned_away: set[str] = set()
        self._passed: set[str] = set()  # those after which another one was taken
        self._since: set[str] = set()  # turned away since a job was last taken
        self._in_a_row = 0
        self._not_before = 0.0

    def open(self) -> bool:
        return time.monotonic() >= self._not_before

    def took(self, key: str) -> None:
        """A job was accepted."""
        self.turned_away.discard(key)
        self._passed = set(self.turned_away)
        self._since, self._in_a_row, self._not_before = set(), 0, 0.0

    def turn_away(self, key: str) -> float:
        """-> seconds until the server is asked again."""
        self.turned_away.add(key)
        self._since.add(key)
        pause_s = _pause_s(self._in_a_row)
        self._in_a_row += 1
        self._not_before = time.monotonic() + pause_s
        return pause_s

    def blames(self, key: str) -> bool:
        """Whether a job that is turned away is itself to blame."""
        return key in self._passed and self._since <= {key}


class Health:
    """A rest that grows with every job that fails after it, once SICK jobs failed in a row."""

    def __init__(self) -> None:
        self._failed: set[str] = set()  # since a job was last done
        self._rests = 0
        self._not_before = 0.0

    def resting(self) -> bool:
        return time.monotonic() < self._not_before

    def most(self, ahead: int) -> int:
        """How many jobs it may have: a sick server is tried with one."""
        return min(1, ahead) if len(self._failed) >= SICK else ahead

    def well(self) -> None:
        """A job was done."""
        self._failed, self._rests, self._not_before = set(), 0, 0.0

    def failed(self, key: str) -> float:
        """-> seconds of a rest that begins now; 0 where none does."""
        self._failed.add(key)
        if len(self._failed) < SICK or self.resting():  # those that it had before go on
            return 0.0
        rest_s = _pause_s(self._rests)
        self._rests += 1
        self._not_before = time.monotonic() + rest_s
        return rest_s


def _pause_s(in_a_row: int) -> float:
    return min(MOST_RETRY_S, RETRY_S * 2**in_a_row)
