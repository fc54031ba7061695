"""A client of a running ComfyUI: queue a workflow in API format, follow it, fetch what it made."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

from .connection import blocks_of, body_of, connection
from .websocket import WebSocket

Event = Callable[[str, dict], None]  # kind of message, its data
PART = "only a part of the workflow would run: put it right, or take the broken nodes out"


class JobRefused(RuntimeError):
    """The server did not accept the workflow, or (`in_part`) would have run a part of it alone; the
    text holds what it said of each node."""

    def __init__(self, body: bytes, in_part: bool = False):
        super().__init__(f"{PART}: {refusal(body)}" if in_part else refusal(body))
        self.in_part = in_part
        try:
            self.node_errors: dict = json.loads(body).get("node_errors") or {}
        except (ValueError, AttributeError):
            self.node_errors = {}


class Strange(ConnectionError):
    """Something else than a ComfyUI answers there: the page of a login, or of a proxy."""


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
    """`base_url` like http://127.0.0.1:8188; after `silence_s` without a word of a job the server
    is asked whether it still has it."""

    def __init__(self, base_url: str, silence_s: float = 600):
        self.base_url = base_url.rstrip("/")
        self.silence_s = silence_s
        # No proxy from the environment: the server is on this machine or in its network.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def get(self, path: str, timeout_s: float = 60) -> dict:
        """The JSON object that answers a GET. Raises OSError (Strange where the answer is none)."""
        return self._object(path, self.read(path, timeout_s=timeout_s))

    def _object(self, path: str, body: bytes) -> dict:
        with contextlib.suppress(ValueError):
            answer = json.loads(body)
            if isinstance(answer, dict):
                return answer
        begins = " ".join(body[:60].decode(errors="replace").split())
        raise Strange(f"no ComfyUI answers {path.partition('?')[0]}: {begins!r}")

    def read(self, path: str, data: bytes | None = None, timeout_s: float = 60) -> bytes:
        """The body of a GET, or of a POST of JSON `data`."""
        headers = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.base_url + path, data, headers)
        with connection(), self._open(request, timeout=timeout_s) as answer:
            return answer.read()

    def download(self, file: dict) -> bytes:
        """The bytes of an output as history lists it: filename, subfolder, type."""
        return self.read(view_path(file))

    def save(self, file: dict, target: Path) -> None:
        """An output's bytes into `target`, which is whole, also after a power cut, or as it was.

        Raises ConnectionError, TimeoutError or HTTPError for the server's part, any other OSError
        for this machine's disk.
        """
        part = target.with_name(target.name + ".part")
        with connection():
            answer = self._open(self.base_url + view_path(file), timeout=60)
        with answer, part.open("wb") as out:
            out.writelines(blocks_of(answer))
            out.flush()
            os.fsync(out.fileno())
            expected = answer.headers.get("Content-Length")
        if expected and part.stat().st_size != int(expected):
            raise ConnectionError(f"{target.name}: the connection broke before its end")
        part.replace(target)
        _keep_names(target.parent)

    def exists(self, file: dict) -> bool:
        """Whether the server has such an output, and gives it out."""
        request = urllib.request.Request(self.base_url + view_path(file), method="HEAD")
        try:
            with connection():
                self._open(request, timeout=60).close()
        except urllib.error.HTTPError as error:
            if not is_final(error):
                raise
            return False
        return True

    def interrupt(self, job: str | None = None) -> None:
        """Ends a job that runs; without a name the one that runs, whosever it is."""
        self.read("/interrupt", json.dumps({"prompt_id": job} if job else {}).encode())

    def withdraw(self, job: str) -> None:
        """Takes a job off the queue, and ends it where it has begun."""
        self.read("/queue", json.dumps({"delete": [job]}).encode())
        if any(item[1] == job for item in self.get("/queue").get("queue_running", [])):
            self.interrupt(job)

    def submit(self, workflow: dict, client_id: str, extra: dict | None = None) -> str:
        """-> the name that the server gives the job. Raises JobRefused, OSError.

        A server that would run only a part of the workflow, since it can't run some of its outputs,
        accepts it; here it is refused.
        """
        asked = {"prompt": workflow, "client_id": client_id, "extra_data": extra or {}}
        try:
            body = self.read("/prompt", json.dumps(asked).encode())
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            raise JobRefused(body_of(error)) from None
        answer = self._object("/prompt", body)
        job = answer.get("prompt_id")
        if not isinstance(job, str):
            raise Strange(f"no ComfyUI answers /prompt: it gave the job no name, but {answer}")
        if answer.get("node_errors"):
            self.withdraw(job)
            raise JobRefused(body, in_part=True)
        return job

    def queue(self, workflow: dict, on_event: Event | None = None) -> dict:
        """Runs a workflow to its end.

        Returns the job's history entry: `outputs` by node id, `status`. Raises JobRefused,
        JobFailed; OSError where the server is gone or does not answer.
        """
        client_id, job = uuid.uuid4().hex, ""
        followed = False
        while not followed:
            with self.socket(client_id, self.silence_s) as socket:
                job = job or self.submit(workflow, client_id)
                try:
                    self._follow(socket, job, on_event or (lambda kind, data: None))
                    followed = True
                except TimeoutError:  # a step at 4K may be silent for long; or its end was missed
                    followed = not self._has(job)
        return self._history(job)

    def socket(self, client_id: str, timeout_s: float) -> WebSocket:
        """What the server says of this client's jobs while they run."""
        return WebSocket(f"{self.base_url}/ws?clientId={client_id}", timeout_s)

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

    def _has(self, job: str) -> bool:
        """Whether a job waits or runs."""
        queue = self.get("/queue")
        return any(item[1] == job for items in queue.values() for item in items)

    def _history(self, job: str, patience_s: float = 20) -> dict:
        # The entry is written a moment after the last message.
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            entry = self.get(f"/history/{job}").get(job)
            if entry:
                return _checked(entry)
            time.sleep(0.05)
        raise ConnectionError(f"the server holds no history of job {job} after {patience_s:g} s")


def _keep_names(folder: Path) -> None:
    """Waits until the disk has a folder's list of files, where a system does that at all."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks can't
            os.fsync(handle)
    finally:
        os.close(handle)


def _checked(entry: dict) -> dict:
    """A history entry. Raises JobFailed where it tells of an error or an interruption."""
    for kind, data in entry.get("status", {}).get("messages", []):
        if kind in ("execution_error", "execution_interrupted"):
            raise JobFailed(data)
    return entry


def view_path(file: dict) -> str:
    """Where the server gives an output: filename, subfolder, type."""
    return "/view?" + urllib.parse.urlencode(file)


def is_final(error: urllib.error.HTTPError) -> bool:
    """Whether the server would answer so again: not where it is overloaded, or its proxy."""
    return 400 <= error.code < 500 and error.code not in (408, 429)


def refusal(body: bytes) -> str:
    """The server's answer to a workflow it won't run, as lines of text."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return body.decode(errors="replace")
    error = answer.get("error", {})
    lines = [error.get("message", str(error)) if isinstance(error, dict) else str(error)]
    lines = lines if error else []
    for node_id, node in (answer.get("node_errors") or {}).items():
        lines += [
            f"node {node_id} ({node.get('class_type')}): {e.get('message')}: {e.get('details')}"
            for e in node.get("errors", [])
        ]
    return "\n".join(lines)
