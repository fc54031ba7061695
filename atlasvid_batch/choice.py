"""Which server may take which job, and when there is none left that might."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


class Takers:
    """The named servers that take jobs: `present` answer now and do not rest; `hoped_for` are these
    and those that may be back soon.
    """

    def __init__(self, servers: Collection[str] = ()):
        self.present, self.hoped_for = set(servers), set(servers)

    def answers(self, server: str, rests: bool) -> None:
        self.hoped_for.add(server)
        if rests:
            self.present.discard(server)
        else:
            self.present.add(server)

    def away(self, server: str) -> None:
        self.present.discard(server)

    def given_up(self, server: str) -> None:
        self.present.discard(server)
        self.hoped_for.discard(server)


@dataclass
class Marks:
    """Servers on which a job failed; that refused it, since they lack what it names; that turned it
    away with an error.
    """

    failed_on: set[str] = field(default_factory=set)
    refused_by: set[str] = field(default_factory=set)
    turned_away_by: set[str] = field(default_factory=set)

    def may_go_to(self, server: str, takers: Takers) -> bool:
        """Never where it was refused; where it failed only if no other server could try it."""
        others = takers.present - self.failed_on - self.refused_by
        return server not in self.refused_by and (server not in self.failed_on or not others)

    def refused_by_all(self, takers: Takers) -> bool:
        return bool(self.refused_by) and takers.hoped_for <= self.refused_by

    def turned_away_by_all(self, takers: Takers) -> bool:
        return takers.hoped_for <= self.refused_by | self.turned_away_by
