"""Progress of a job in the terminal: node, per cent, elapsed time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 24
PLAIN_EVERY_S = 10.0  # without a terminal, a line at most this often


class Progress:
    """Takes the server's messages (`Client.queue`'s `on_event`); `seconds` is the time by node."""

    def __init__(
        self,
        workflow: dict,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.seconds: dict[str, float] = {}
        self._titles = {
            key: node.get("_meta", {}).get("title") or node["class_type"]
            for key, node in workflow.items()
        }
        self._out = out or sys.stdout
        self._clock = clock
        self._began = clock()
        self._node: str | None = None
        self._node_began = self._began
        self._shown = self._began
        self._done: set[str] = set()

    def __call__(self, kind: str, data: dict) -> None:
        if kind == "execution_cached":
            self._done.update(data.get("nodes", []))
        elif kind == "executing":
            self._finish()
            self._start(data.get("node"))
        elif kind == "progress":
            self._draw(f"{100 * data['value'] // max(1, data['max'])} %")
        elif kind.startswith("execution_") and kind != "execution_start":
            self._finish()

    def _start(self, node: str | None) -> None:
        if node is not None:
            self._node, self._node_began = node, self._clock()
            self._draw("")

    def _finish(self) -> None:
        if self._node is None:
            return
        seconds = self._clock() - self._node_began
        title = self._titles.get(self._node, self._node)
        name = f"{title} (node {self._node})" if title in self.seconds else title
        self.seconds[name] = round(seconds, 2)
        self._done.add(self._node)
        self._node = None
        end = "\r\033[K" if self._out.isatty() else ""
        self._out.write(f"{end}  {name}: {seconds:.1f} s\n")
        self._out.flush()

    def _draw(self, step: str) -> None:
        now = self._clock()
        if self._node is None:
            return
        full = WIDTH * len(self._done) // max(1, len(self._titles))
        title = self._titles.get(self._node, self._node)
        elapsed = f"{int(now - self._began) // 60}:{int(now - self._began) % 60:02d}"
        line = f"  [{'#' * full}{'.' * (WIDTH - full)}] {elapsed}  {title}  {step}".rstrip()
        if self._out.isatty():
            self._out.write(f"\r\033[K{line}")
        elif step and now - self._shown >= PLAIN_EVERY_S:
            self._out.write(line + "\n")
            self._shown = now
        self._out.flush()
