"""Where every job of a batch stands, shared by the workers; what matters goes into the manifest
before anything is done about it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from .choice import Marks, Takers
from .jobs import Job
from .manifest import Manifest

RETRY_S, MOST_RETRY_S = 4.0, 300.0
HOPELESS = ("ValueError", "interrupted")  # the job itself is wrong, or unwanted
OVER = ("done", "failed")
MOST_LOSSES = 10  # times that servers may die with a job not begun, or all have turned it away


@dataclass
class Standing:
    """waiting, queued (a server has it, or may have it), running, done, failed."""

    job: Job
    state: str = "waiting"
    server: str | None = None
    prompt_id: str | None = None
    tries: int = 0
    losses: int = 0
    not_before: float = 0.0
    began: float = 0.0
    progress: str = ""
    files: list[str] = field(default_factory=list)
    error: str = ""
    earlier: bool = False  # done before this run
    marks: Marks = field(default_factory=Marks)


class Board:
    """All methods may be called by any thread. `say` takes a line for the user; `servers` are those
    that shall take jobs.
    """

    def __init__(
        self, jobs: Sequence[Job], manifest: Manifest, tries: int, say: Callable[[str], None],
        servers: Collection[str] = (),
    ):  # fmt: skip
        self.jobs = {job.key: Standing(job) for job in jobs}
        self.seconds: list[float] = []  # that jobs of this run took, as their servers say
        self._manifest, self._tries, self._say = manifest, tries, say
        self._takers = Takers(servers)
        self._lock = threading.RLock()
        for key, standing in self.jobs.items():
            known = manifest.records.get(key)
            if known and known.state == "done":
                standing.state, standing.files, standing.earlier = "done", known.files, True
            elif known and known.state in ("queueing", "queued"):
                standing.state, standing.tries = "queued", 1
                standing.server, standing.prompt_id = known.server, known.prompt_id

    def claim(self, server: str, last: Collection[str] = ()) -> Job | None:
        """The next job for this server, which from now on is thought to have it; those of `last`
        where there is no other."""
        with self._lock:
            now = time.monotonic()
            ready = [
                s for s in self.jobs.values() if s.state == "waiting" and s.not_before <= now
                and s.marks.may_go_to(server, self._takers)
            ]  # fmt: skip
            if not ready:
                return None
            standing = min(ready, key=lambda s: s.job.key in last)  # the first one of these
            self._manifest.add(standing.job.key, "queueing", server=server)
            standing.state, standing.server, standing.prompt_id = "queued", server, None
            standing.tries += 1
            return standing.job

    def adopt(self, key: str, server: str, prompt_id: str, state: str) -> bool:
        """Whether a job that a server says it has (`state`) counts as that server's from now on.

        Not where it is over, or another server has it, or what it has is a try that failed before,
        or a part of the job that was never asked for.
        """
        with self._lock:
            standing = self.jobs[key]
            free = standing.state == "waiting" and state not in ("failed", "partial")
            own = standing.state in ("queued", "running") and standing.server == server
            own &= state != "partial" or standing.prompt_id == prompt_id
            if free:
                standing.tries += 1
            if free or own:
                self.queued(standing.job, server, prompt_id)
            return free or own

    def follows(self, prompt_id: str) -> bool:
        """Whether a job is followed under this name, which no two servers give."""
        with self._lock:
            return any(s.prompt_id == prompt_id and s.state not in OVER for s in self.jobs.values())

    def queued(self, job: Job, server: str, prompt_id: str) -> None:
        with self._lock:
            standing = self.jobs[job.key]
            standing.state, standing.server, standing.prompt_id = "queued", server, prompt_id
            self._manifest.add(job.key, "queued", server=server, prompt_id=prompt_id)

    def held_by(self, server: str) -> list[Standing]:
        """The jobs that this server has, or may have."""
        with self._lock:
            return [
                s for s in self.jobs.values() if s.state in ("queued", "running")
                and s.server == server
            ]  # fmt: skip

    def running(self, key: str) -> None:
        with self._lock:
            standing = self.jobs[key]
            if standing.state == "queued":
                standing.state, standing.began = "running", time.monotonic()

    def note_progress(self, prompt_id: str, text: str) -> None:
        with self._lock:
            for standing in self.jobs.values():
                if standing.prompt_id == prompt_id and standing.state in ("queued", "running"):
                    standing.progress = text

    def done(self, key: str, files: list[str], seconds: float | None = None) -> None:
        """`seconds` that it took, where its server knows."""
        with self._lock:
            standing = self.jobs[key]
            self._manifest.add(
                key, "done", server=standing.server, prompt_id=standing.prompt_id, files=files,
                seconds=None if seconds is None else round(seconds, 2),
            )  # fmt: skip
            if seconds is not None:
                self.seconds.append(seconds)
            standing.state, standing.files = "done", files
            took = "" if seconds is None else f" in {seconds:.1f} s"
            self._say(f"{self._tally()} {standing.job.name}: done{took} on {standing.server}")

    def missed(self, key: str, kind: str, error: str) -> None:
        """A try that gave nothing: the job waits for its next one, or has failed."""
        with self._lock:
            standing = self.jobs[key]
            lost = kind == "lost"
            if lost and not standing.began:  # something else ended that server
                standing.tries, standing.losses = standing.tries - 1, standing.losses + 1
            if not lost and standing.server:
                standing.marks.failed_on.add(standing.server)
            over = kind in HOPELESS or standing.tries >= self._tries
            over |= standing.losses >= MOST_LOSSES
            if not over and standing.marks.refused_by_all(self._takers):
                over, error = True, f"{error}; the other servers refused it"
            facts = {"server": standing.server, "prompt_id": standing.prompt_id, "error": error}
            self._manifest.add(key, "failed" if over else "waiting", **facts)
            pause_s = min(MOST_RETRY_S, RETRY_S * 2 ** max(0, standing.tries - 1))
            standing.not_before = 0.0 if lost else time.monotonic() + pause_s
            standing.state, standing.error = "failed" if over else "waiting", error
            standing.prompt_id, standing.began, standing.progress = None, 0.0, ""
            what = "failed" if over else "again" if lost else f"again in {pause_s:.0f} s"
            self._say(f"{self._tally()} {standing.job.name}: {what}: {error}")

    def returned(self, key: str, error: str) -> None:
        """A job that its server can't take waits for another one; no try is lost."""
        with self._lock:
            standing = self.jobs[key]
            self._manifest.add(key, "waiting", server=standing.server, error=error)
            standing.state, standing.server, standing.error = "waiting", None, error
            standing.tries -= 1

    def refused(self, key: str, error: str) -> None:
        """Its server lacks what the job names: it never goes there again, and has failed where it
        was refused by all."""
        with self._lock:
            standing = self.jobs[key]
            standing.marks.refused_by.add(standing.server or "")
            if standing.marks.refused_by_all(self._takers):
                self._fail(standing, error)
            else:
                self.returned(key, error)

    def turned_away(self, key: str, error: str) -> None:
        """Its server answered with an error; a job that this happened to with all of them fails
        after MOST_LOSSES more times."""
        with self._lock:
            standing = self.jobs[key]
            standing.marks.turned_away_by.add(standing.server or "")
            standing.losses += standing.marks.turned_away_by_all(self._takers)
            if standing.losses >= MOST_LOSSES:
                self._fail(standing, error)
            else:
                self.returned(key, error)

    def answers(self, server: str, rests: bool) -> None:
        """A server that takes jobs is there; one that `rests` gets none just now."""
        with self._lock:
            self._takers.answers(server, rests)

    def away(self, server: str, given_up: bool) -> None:
        """A server does not answer, or (`given_up`) takes no jobs of this batch any more."""
        with self._lock:
            if not given_up:
                self._takers.away(server)
                return
            self._takers.given_up(server)
            for standing in self.jobs.values():
                if standing.state == "waiting" and standing.marks.refused_by_all(self._takers):
                    self._fail(standing, standing.error)

    def others_take(self, server: str) -> bool:
        """Whether another server takes jobs now."""
        with self._lock:
            return bool(self._takers.present - {server})

    def others_may_take(self, key: str, server: str) -> bool:
        """Whether one that did not refuse this job takes it, now or soon."""
        with self._lock:
            return bool(self._takers.hoped_for - self.jobs[key].marks.refused_by - {server})

    def _fail(self, standing: Standing, error: str) -> None:
        self._manifest.add(standing.job.key, "failed", server=standing.server, error=error)
        standing.state, standing.server, standing.error = "failed", None, error
        self._say(f"{self._tally()} {standing.job.name}: failed: {error}")

    def over(self) -> bool:
        with self._lock:
            return all(s.state in OVER for s in self.jobs.values())

    def snapshot(self) -> list[Standing]:
        with self._lock:
            return [Standing(**vars(s)) for s in self.jobs.values()]

    def _tally(self) -> str:
        done = sum(s.state == "done" for s in self.jobs.values())
        return f"[{done}/{len(self.jobs)}]"
