"""A job's progress as one line for a person: node, step, time gone by."""

from __future__ import annotations

import sys
import time

WIDTH = 20


class Progress:
    """Takes the server's messages (an `Event` of the client); `seconds` is spent by node title."""

    def __init__(self, workflow: dict):
        self._titles = {
            key: node.get("_meta", {}).get("title", node["class_type"])
            for key, node in workflow.items()
        }
        self._began = self._entered = time.monotonic()
        self._node = ""
        self._step, self._steps = 0, 0
        self.seconds: dict[str, float] = {}

    def __call__(self, kind: str, data: dict) -> None:
        if kind == "executing":
            self._enter(data.get("node") or "")
        elif kind == "progress":
            self._step, self._steps = data["value"], data["max"]
        if self._node:
            self._show()

    def _enter(self, node: str) -> None:
        now = time.monotonic()
        if self._node:
            title = self._titles.get(self._node, self._node)
            self.seconds[title] = round(self.seconds.get(title, 0.0) + now - self._entered, 2)
        elif not node:
            return
        self._node, self._entered = node, now
        self._step, self._steps = 0, 0
        if not node:
            print(file=sys.stderr)

    def line(self) -> str:
        done = self._step / self._steps if self._steps else 0
        bar = "#" * int(WIDTH * done)
        count = f"{self._step}/{self._steps}" if self._steps else ""
        title = self._titles.get(self._node, self._node)
        return f"[{bar:{WIDTH}}] {title:32.32} {count:>9} {time.monotonic() - self._began:6.1f} s"

    def _show(self) -> None:
        live = sys.stderr.isatty()
        start, end = ("\r", "") if live else ("", "\n")
        print(f"{start}{self.line()}", end=end, file=sys.stderr, flush=True)
