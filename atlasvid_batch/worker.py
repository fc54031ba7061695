"""A thread for each server: keep it busy, follow its jobs, fetch their files, outlive its death."""

from __future__ import annotations

import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

from .board import HOPELESS, OVER, Board, Standing
from .check import problems
from .client import PART, JobRefused, Strange
from .files import NotFetched, fetch, find_files
from .intake import Health, Intake
from .jobs import Job
from .server import BatchServer

TICK_S = 0.25
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 20.0
WITHHELD_S = 5.0  # between two questions for a result that a server has trouble to give
AWAY = (urllib.error.URLError, ConnectionError, TimeoutError)


class Worker(threading.Thread):
    """`ahead` jobs at a time are given to the server; 0 only settles what it has.

    `away_since` (monotonic) and `trouble` tell the display about a server that does not answer; its
    jobs are given up after `patience_s`, since it may still be working on them.
    """

    def __init__(
        self, server: BatchServer, board: Board, folder: Path, ahead: int, patience_s: float,
        say: Callable[[str], None],
    ):  # fmt: skip
        super().__init__(name=server.url, daemon=True)
        self.server, self.board, self.folder = server, board, folder
        self.ahead, self.patience_s = ahead, patience_s
        self.away_since: float | None = None
        self.trouble = ""
        self.broken: Exception | None = None
        self._say = say
        self._stopping = threading.Event()
        self._known = False  # whether the server was surveyed since it last answered
        self._intake, self._health = Intake(), Health()
        self._withheld: dict[str, tuple[float, float]] = {}  # key -> since when, when to ask again

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        wait_s = FIRST_WAIT_S
        try:
            while not self._stopping.is_set() and not self.board.over():
                try:
                    self._tick()
                except AWAY as error:
                    self._away(error)
                    self._stopping.wait(wait_s)
                    wait_s = min(2 * wait_s, MOST_WAIT_S)
                else:
                    wait_s = FIRST_WAIT_S
                    self._stopping.wait(TICK_S)
        except Exception as error:  # this machine's disk, or a mistake of ours: the run ends
            self.broken = error

    def _tick(self) -> None:
        if not self._known:
            self._adopt()
            if self.ahead:
                self._examine()
            self._known = True
        if self.ahead:
            self.board.answers(self.server.url, rests=not self._takes_jobs())
        present = self.server.queue()
        for standing in self.board.held_by(self.server.url):
            self._settle(standing, present.get(standing.prompt_id or "", ("", None))[0])
        self._fill()
        self._answers()

    def _adopt(self) -> None:
        """After an absence (ours or the server's): learn what it has of this batch's jobs."""
        for key, (prompt_id, state) in self.server.survey().items():
            ours = key in self.board.jobs and self.board.adopt(
                key, self.server.url, prompt_id, state
            )
            # Given up here and taken on elsewhere since, or a part that nobody asked for. Not where
            # another worker knows this very server under another name.
            if not ours and state in ("pending", "partial") and not self.board.follows(prompt_id):
                self.server.client.withdraw(prompt_id)

    def _settle(self, standing: Standing, present: str) -> None:
        """Like `_follow`; a result that the server can't give now does not stop the others."""
        key, now = standing.job.key, time.monotonic()
        since, again_at = self._withheld.get(key, (now, now))
        if now < again_at:
            return
        try:
            self._follow(standing, present)
        except NotFetched as error:
            self._missed(key, "gone", str(error))
        except AWAY as error:  # a server that is gone altogether says nothing of its queue, either
            if now - since <= self.patience_s:
                self._withheld[key] = (since, now + WITHHELD_S)
                return
            self._missed(key, "gone", f"{self.server.url} does not give its result: {error}")
        self._withheld.pop(key, None)

    def _follow(self, standing: Standing, present: str) -> None:
        key = standing.job.key
        if present:
            if present == "running":
                self.board.running(key)
            return
        ended = self.server.ended(standing.prompt_id) if standing.prompt_id else None
        if ended is None:  # the server was restarted, or forgot
            found = find_files(self.server.client, standing.job)
            if found is None:
                what = "no longer has it" if standing.prompt_id else "did not get it"
                self._missed(key, "lost", f"{self.server.url} {what}")
            else:
                self._finish(key, found)
        elif ended.state == "done":
            self._finish(key, ended.files, ended.seconds)
        else:
            self._missed(key, ended.kind, ended.error)

    def _finish(self, key: str, files: list[dict], seconds: float | None = None) -> None:
        """Brings a job's files here; only then it is done."""
        names = fetch(self.server.client, files, key, self.server.batch, self.folder)
        self.board.done(key, names, seconds)
        self._health.well()
        self._answers()

    def _missed(self, key: str, kind: str, error: str) -> None:
        self.board.missed(key, kind, error)
        if kind != "lost" and kind not in HOPELESS:  # those tell nothing of the server's health
            rest_s = self._health.failed(key)
            if rest_s and self.board.others_take(self.server.url):
                self._say(
                    f"{self.server.url} fails job after job ({error}); others take them for the "
                    f"next {rest_s:.0f} s"
                )

    def _examine(self) -> None:
        """A server that lacks nodes or files is left out; the others go on."""
        wanted = [s.job for s in self.board.snapshot() if s.state not in OVER]
        found = problems(wanted, self.server.client.get("/object_info"))
        if found:
            self._leave_out(found[0])

    def _leave_out(self, why: str) -> None:
        self.ahead = 0
        self.board.away(self.server.url, given_up=True)
        self._say(f"{self.server.url} is left out: {why}")

    def _takes_jobs(self) -> bool:
        """A sick server rests only while another one can do its work."""
        rests = self._health.resting() and self.board.others_take(self.server.url)
        return self._intake.open() and not rests

    def _fill(self) -> None:
        while (
            not self._stopping.is_set()
            and self._takes_jobs()
            and len(self.board.held_by(self.server.url)) < self._health.most(self.ahead)
        ):
            job = self.board.claim(self.server.url, last=self._intake.turned_away)
            if job is None:
                return
            self._submit(job)

    def _submit(self, job: Job) -> None:
        try:
            prompt_id = self.server.submit(job)
        except JobRefused as error:
            words, ours = job.blame(error.node_errors)
            words = [PART, *words] if error.in_part else words
            if ours:
                self.board.refused(job.key, "; ".join(words))
            else:  # the same for every job: something is missing on this server
                self.board.returned(job.key, "; ".join(words) or str(error))
                self._leave_out("; ".join(words) or str(error))
        except (urllib.error.HTTPError, Strange) as error:
            self._not_taken(job, str(error))
        else:
            self.board.queued(job, self.server.url, prompt_id)
            self._intake.took(job.key)

    def _not_taken(self, job: Job, why: str) -> None:
        """The server answers, but what it says to a new job makes no sense."""
        prompt_id, state = self.server.survey().get(job.key, ("", "failed"))
        if state not in ("failed", "partial"):  # it has it all the same; its answer was lost
            self.board.adopt(job.key, self.server.url, prompt_id, state)
            return
        words = f"{self.server.url} does not take it: {why}"
        if self._intake.blames(job.key):
            if self.board.others_may_take(job.key, self.server.url):
                self.board.refused(job.key, words)
            else:
                self.board.missed(job.key, "refused by error", words)
            return
        self.board.turned_away(job.key, words)
        pause_s = self._intake.turn_away(job.key)
        self._say(f"{self.server.url} takes no jobs ({why}); again in {pause_s:.0f} s")

    def _answers(self) -> None:
        if self.away_since is not None:
            self._say(f"{self.server.url} answers")
        self.away_since, self.trouble = None, ""

    def _away(self, error: Exception) -> None:
        now = time.monotonic()
        self._known = False
        self._withheld.clear()
        if self.away_since is None:
            self.away_since, self.trouble = now, str(getattr(error, "reason", error))
            self._say(f"{self.server.url} does not answer ({self.trouble}); trying again")
        given_up = now - self.away_since > self.patience_s
        self.board.away(self.server.url, given_up)
        if given_up:
            for standing in self.board.held_by(self.server.url):
                words = f"{self.server.url} away for {self.patience_s:.0f} s"
                self.board.missed(standing.job.key, "lost", words)
