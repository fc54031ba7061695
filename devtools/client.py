"""A client of a running ComfyUI: queue a workflow in API format, follow it, fetch what it made."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

from .websocket import WebSocket

Event = Callable[[str, dict], None]  # kind of message, its data


class JobRefused(RuntimeError):
    """The server did not accept the workflow; the text holds what it said of each node."""


class JobFailed(RuntimeError):
    """A node raised an error (or the job was interrupted)."""

    def __init__(self, data: dict):
        self.data = data
        self.node_type = data.get("node_type")
        self.node_id = data.get("node_id")
        self.kind = str(data.get("exception_type", "interrupted"))
        self.message = str(data.get("exception_message", "interrupted")).strip()
        super().__init__(f"{self.node_type}: {self.message}")


class Client:
    """`base_url` like http://127.0.0.1:8188; `silence_s` is how long a job may say nothing."""

    def __init__(self, base_url: str, silence_s: float = 600):
        self.base_url = base_url.rstrip("/")
        self.silence_s = silence_s

    def get(self, path: str) -> Any:
        """The JSON answer to a GET."""
        return json.loads(self.read(path))

    def read(self, path: str, data: bytes | None = None) -> bytes:
        """The body of a GET, or of a POST of JSON `data`."""
        headers = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.base_url + path, data, headers)
        # No proxy from the environment: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return answer.read()

    def download(self, file: dict) -> bytes:
        """The bytes of an output as history lists it: filename, subfolder, type."""
        return self.read("/view?" + urllib.parse.urlencode(file))

    def interrupt(self) -> None:
        self.read("/interrupt", b"{}")

    def queue(self, workflow: dict, on_event: Event | None = None) -> dict:
        """Runs a workflow to its end.

        Returns the job's history entry: `outputs` by node id, `status`. Raises JobRefused,
        JobFailed; OSError where the server is gone or silent for `silence_s`.
        """
        client_id = uuid.uuid4().hex
        host, port = urllib.parse.urlsplit(self.base_url).netloc.rsplit(":", 1)
        path = f"/ws?clientId={client_id}"
        with WebSocket(host, int(port), path, self.silence_s) as socket:
            job = self._submit(workflow, client_id)
            self._follow(socket, job, on_event or (lambda kind, data: None))
        return self._history(job)

    def _submit(self, workflow: dict, client_id: str) -> str:
        body = json.dumps({"prompt": workflow, "client_id": client_id}).encode()
        try:
            return json.loads(self.read("/prompt", body))["prompt_id"]
        except urllib.error.HTTPError as error:
            raise JobRefused(refusal(error.read())) from None

    def _follow(self, socket: WebSocket, job: str, on_event: Event) -> None:
        for text in socket.texts():
            message = json.loads(text)
            kind, data = message["type"], message.get("data") or {}
            if data.get("prompt_id") != job:
                continue
            on_event(kind, data)
            if kind in ("execution_error", "execution_interrupted"):
                raise JobFailed(data)
            if kind == "execution_success" or (kind == "executing" and data["node"] is None):
                return
        raise ConnectionError("the server closed the websocket before the job ended")

    def _history(self, job: str, patience_s: float = 20) -> dict:
        # The entry is written a moment after the last message.
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            entry = self.get(f"/history/{job}").get(job)
            if entry:
                return entry
            time.sleep(0.05)
        raise ConnectionError(f"the server holds no history of job {job} after {patience_s:g} s")


def refusal(body: bytes) -> str:
    """The server's answer to a workflow it won't run, as lines of text."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
    error = answer.get("error", {})
    lines = [error.get("message", str(error)) if isinstance(error, dict) else str(error)]
    for node_id, node in (answer.get("node_errors") or {}).items():
        lines += [
            f"node {node_id} ({node.get('class_type')}): {e.get('message')}: {e.get('details')}"
            for e in node.get("errors", [])
        ]
    return "\n".join(lines)
