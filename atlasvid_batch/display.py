"""What a person sees of a batch: a table that redraws itself, plain lines without a terminal."""

from __future__ import annotations

import os
import shutil
import threading
import time
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from .board import Board, Standing
from .worker import Worker

PERIOD_S = 0.5
BAR = 30
NEWS = 5  # the last lines that stay in sight
EMOJI_STYLE = "\ufe0f"  # makes the sign before it as wide as an emoji


class Display:
    """`say` may be called by any thread; `draw` by one. `out` decides between table and lines."""

    def __init__(self, out: TextIO):
        self._out = out
        self._live = out.isatty() and _understands_escapes()
        self._lock = threading.Lock()
        self._drawn = 0  # lines of the table that are on the screen
        self._news: list[str] = []

    def say(self, line: str) -> None:
        line = " ".join(line.split())  # a server's words may have several lines
        with self._lock:
            if self._live:
                self._news = [*self._news, line][-NEWS:]
            else:
                print(time.strftime("%H:%M:%S"), line, file=self._out, flush=True)

    def draw(self, board: Board, workers: Sequence[Worker]) -> None:
        if not self._live:
            return
        width = shutil.get_terminal_size().columns - 1
        lines = table(board.snapshot(), workers, board.seconds)
        with self._lock:
            lines = [*lines, *self._news]
            up = f"\x1b[{self._drawn}A" if self._drawn else ""
            body = "".join(f"\x1b[2K{clipped(line, width)}\n" for line in lines)
            self._out.write(f"{up}{body}\x1b[J")
            self._out.flush()
            self._drawn = len(lines)


def table(jobs: Sequence[Standing], workers: Sequence[Worker], seconds: list[float]) -> list[str]:
    """A bar, a line of figures, a row for each server."""
    total, done = len(jobs), sum(j.state == "done" for j in jobs)
    failed = sum(j.state == "failed" for j in jobs)
    full = BAR * done // max(1, total)
    left = total - done - failed
    facts = [f"{done} of {total} done"]
    facts += [f"{failed} failed"] if failed else []
    if seconds and left:
        mean = sum(seconds) / len(seconds)
        at_work = max(1, sum(w.away_since is None and w.ahead > 0 for w in workers))
        facts += [f"{mean:.1f} s a job", f"about {span(mean * left / at_work)} left"]
    rows = [_row(w, [j for j in jobs if j.server == w.server.url]) for w in workers]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    shown = [f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]}" for row in rows]
    return [f"[{'#' * full}{'.' * (BAR - full)}] {', '.join(facts)}", *shown]


def _row(worker: Worker, jobs: Sequence[Standing]) -> tuple[str, str, str]:
    done = sum(j.state == "done" and not j.earlier for j in jobs)
    if worker.away_since is not None:
        now = f"away for {span(time.monotonic() - worker.away_since)}: {worker.trouble}"
    else:
        running = [j for j in jobs if j.state == "running"]
        waiting = sum(j.state == "queued" for j in jobs)
        now = ", ".join(f"{j.job.name}: {j.progress or 'running'}" for j in running) or (
            "idle" if worker.ahead else "left out"
        )
        now += f" (+{waiting} queued)" if waiting else ""
    return worker.server.url, f"{done} done", now


def clipped(line: str, columns: int) -> str:
    """As much of a line as a terminal shows in so many columns, without what moves its cursor."""
    shown, used = [], 0
    for char in line:
        char = char if char.isprintable() else " "
        used += _columns(char)
        if used > columns:
            break
        shown.append(char)
    return "".join(shown)


def _columns(char: str) -> int:
    """Two for what East Asian scripts and emoji take; none for an accent on the letter before."""
    if char != EMOJI_STYLE and unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def span(seconds: float) -> str:
    """3725 -> 1 h 02 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _understands_escapes() -> bool:
    if os.name != "nt":
        return os.environ.get("TERM") != "dumb"
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    return bool(kernel.SetConsoleMode(kernel.GetStdHandle(-11), 7))
