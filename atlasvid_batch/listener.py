"""How far the running job of a server is, as the server tells its pages."""

from __future__ import annotations

import json
import threading
import time

from .board import Board
from .mapping import title
from .server import BatchServer


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
