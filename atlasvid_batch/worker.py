"""A thread for each server: keep it busy, follow its jobs, fetch their files, outlive its death."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from .board import Board, Standing
from .check import problems
from .client import JobRefused
from .jobs import Job
from .mapping import title
from .server import BatchServer
from .whole import KINDS, is_whole

TICK_S = 0.25
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 20.0
AWAY = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


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
            if self.away_since is not None and self.trouble:
                self._say(f"{self.server.url} answers")
            self._known, self.away_since, self.trouble = True, None, ""
        present = self.server.queue()
        for standing in self.board.held_by(self.server.url):
            self._follow(standing, present.get(standing.prompt_id or "", ("", None))[0])
        while not self._stopping.is_set() and len(self.board.held_by(self.server.url)) < self.ahead:
            job = self.board.claim(self.server.url)
            if job is None:
                return
            self._submit(job)

    def _adopt(self) -> None:
        """After an absence (ours or the server's): learn what it has of this batch's jobs."""
        for key, (prompt_id, state) in self.server.survey().items():
            ours = key in self.board.jobs and self.board.adopt(
                key, self.server.url, prompt_id, state
            )
            if not ours and state == "pending":
                self.server.cancel(prompt_id)  # given up here, taken on elsewhere since

    def _follow(self, standing: Standing, present: str) -> None:
        key = standing.job.key
        if present:
            if present == "running":
                self.board.running(key)
            return
        ended = self.server.ended(standing.prompt_id) if standing.prompt_id else None
        if ended is None:  # the server was restarted, or forgot
            found = self.server.find_files(standing.job)
            if found is None:
                self.board.missed(key, "lost", f"{self.server.url} no longer has it")
            else:
                self._finish(key, found)
        elif ended.state == "done":
            self._finish(key, ended.files)
        else:
            self.board.missed(key, ended.kind, ended.error)

    def _examine(self) -> None:
        """A server that lacks nodes or files is left out; the others go on."""
        found = problems(
            [s.job for s in self.board.snapshot()], self.server.client.get("/object_info")
        )
        if found:
            self._leave_out(found[0])

    def _leave_out(self, why: str) -> None:
        self.ahead = 0
        self._say(f"{self.server.url} is left out: {why}")

    def _submit(self, job: Job) -> None:
        try:
            prompt_id = self.server.submit(job)
        except JobRefused as error:
            words, ours = job.blame(error.node_errors)
            if ours:
                self.board.missed(job.key, "refused", "; ".join(words))
            else:  # the same for every job: something is missing on this server
                self.board.returned(job.key)
                self._leave_out("; ".join(words) or str(error))
        else:
            self.board.queued(job, self.server.url, prompt_id)

    def _finish(self, key: str, files: list[dict]) -> None:
        """Brings a job's files here; only then it is done."""
        names = []
        for file in files:
            name = place_of(file)
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not target.exists():
                    self.server.client.save(file, target)
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                self.board.missed(key, "gone", f"{target.name} is gone from {self.server.url}")
                return
            if target.suffix.lower() in KINDS and not is_whole(target):
                target.unlink()
                self.board.missed(key, "gone", f"{target.name} on {self.server.url} is damaged")
                return
            names.append(name)
        self.board.done(key, names)

    def _away(self, error: Exception) -> None:
        now = time.monotonic()
        self._known = False
        if self.away_since is None:
            self.away_since, self.trouble = now, str(getattr(error, "reason", error))
            self._say(f"{self.server.url} does not answer ({self.trouble}); trying again")
        if now - self.away_since > self.patience_s:
            for standing in self.board.held_by(self.server.url):
                words = f"{self.server.url} away for {self.patience_s:.0f} s"
                self.board.missed(standing.job.key, "lost", words)


def place_of(file: dict) -> str:
    """Where a server's file goes below the batch's folder: as on the server, never outside."""
    parts = PurePosixPath(f"{file['subfolder']}/{file['filename']}".replace("\\", "/")).parts
    return "/".join(("files", *(p for p in parts if p not in ("/", "..") and ":" not in p)))


class Listener(threading.Thread):
    """Hears how far the running job is; nothing depends on it."""

    def __init__(self, server: BatchServer, board: Board):
        super().__init__(daemon=True)
        self.server, self.board = server, board

    def run(self) -> None:
        while True:
            try:
                with self.server.client.socket(self.server.client_id, timeout_s=3600) as socket:
                    for text in socket.texts():
                        self._hear(json.loads(text))
            except (OSError, ValueError):
                pass
            time.sleep(2)

    def _hear(self, message: dict) -> None:
        data = message.get("data") or {}
        job, node = data.get("prompt_id"), data.get("node")
        if message.get("type") not in ("executing", "progress") or not job or not node:
            return
        workflow = next((s.job.workflow for s in self.board.snapshot() if s.prompt_id == job), None)
        if workflow is not None:
            step = f" {int(100 * data['value'] / data['max'])} %" if data.get("max") else ""
            self.board.note_progress(job, f"{title(workflow, node)}{step}")
