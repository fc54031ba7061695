"""A small HTTP server that speaks like ComfyUI and can be told to misbehave, for what the real one
does on other people's machines alone: behind a proxy, broken, overloaded.
"""

import json
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.table import Row

INFO = {
    "Text": {"name": "Text", "input": {"required": {"text": ["STRING", {}]}}},
    "Save": {"name": "Save", "input": {"required": {"filename_prefix": ["STRING", {}]}}},
}
HANG_UP = (0, b"")
SECONDS = 90  # that every job took, as its history says


class RoughServer:
    """A job ends at once and saves the text of node 1. A context manager.

    `answer(method, path, query, asked)` -> (status, body) in place of the usual answer, HANG_UP, or
    None.
    `saved`: (folder, name) -> bytes; `history`, `pending`: as ComfyUI lists them; `posts`: texts of
    the jobs that it was asked for; `deleted`: names of jobs.
    """

    def __init__(self, answer=lambda method, path, query, asked: None):
        self.answer = answer
        self.saved, self.history, self.pending, self.posts, self.deleted = {}, {}, [], [], []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                size = int(self.headers.get("Content-Length") or 0)
                asked = json.loads(self.rfile.read(size)) if size else None
                parts = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(parts.query))
                told = server.answer(self.command, parts.path, query, asked)
                if told == HANG_UP:
                    self.close_connection = True
                    return
                status, body = told or server.usual(parts.path, query, asked)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_POST = do_GET

        return Handler

    def usual(self, path, query, asked):
        if path == "/object_info":
            return 200, as_json(INFO)
        if path == "/queue":
            self.deleted += (asked or {}).get("delete", [])
            return 200, as_json({"queue_running": [], "queue_pending": self.pending})
        if path.startswith("/history"):
            name = path.removeprefix("/history").strip("/")
            wanted = {k: v for k, v in self.history.items() if name in ("", k)}
            return 200, as_json(wanted)
        if path == "/prompt":
            return 200, as_json({"prompt_id": self.take(asked), "number": 0, "node_errors": {}})
        if path == "/view":
            data = self.saved.get((query.get("subfolder", ""), query["filename"]))
            return (404, b"") if data is None else (200, data)
        return 404, b""

    def take(self, asked) -> str:
        name, workflow = uuid.uuid4().hex, asked["prompt"]
        text = workflow["1"]["inputs"]["text"]
        self.posts.append(text)
        files = []
        for node in workflow.values():
            prefix = node["inputs"].get("filename_prefix")
            if prefix:
                prefix = prefix if isinstance(prefix, str) else "film"  # fed by a link
                number = 1 + sum(known.startswith(f"{prefix}_") for _, known in self.saved)
                file = f"{prefix}_{number:05}_.txt"
                self.saved["", file] = f"{text} on {self.port}".encode()
                files.append({"filename": file, "subfolder": "", "type": "output"})
        stamps = [["execution_start", {"timestamp": 0}]]
        stamps += [["execution_success", {"timestamp": SECONDS * 1000}]]
        self.history[name] = {
            "prompt": [0, name, workflow, asked["extra_data"], list(workflow)],
            "outputs": {"9": {"files": files}},
            "status": {"status_str": "success", "messages": stamps},
        }
        return name


class SlowServer(RoughServer):
    """Jobs run one after the other, each for `took_s`."""

    def __init__(self, took_s: float):
        super().__init__()
        self.took_s, self._free_at_s, self._lock = took_s, 0.0, threading.Lock()
        self._unfinished = []  # when it ends, name, entry of the history

    def take(self, asked) -> str:
        with self._lock:
            name = super().take(asked)
            self._free_at_s = max(self._free_at_s, time.monotonic()) + self.took_s
            self._unfinished.append((self._free_at_s, name, self.history.pop(name)))
            return name

    def usual(self, path, query, asked):
        with self._lock:
            while self._unfinished and self._unfinished[0][0] <= time.monotonic():
                _, name, entry = self._unfinished.pop(0)
                self.history[name] = entry
            items = [entry["prompt"] for _, _, entry in self._unfinished]
        if path == "/queue":
            return 200, as_json({"queue_running": items[:1], "queue_pending": items[1:]})
        return super().usual(path, query, asked)


class SickServer(RoughServer):
    """Every job ends at once in an error; with `only`, those of this text alone."""

    def __init__(self, only: str | None = None):
        super().__init__()
        self.only = only

    def take(self, asked) -> str:
        name = super().take(asked)
        if self.only in (None, self.posts[-1]):
            error = {"node_type": "KSampler", "exception_type": "AcceleratorError",
                     "exception_message": "an illegal memory access was encountered"}  # fmt: skip
            status = {"status_str": "error", "messages": [["execution_error", error]]}
            self.history[name] |= {"outputs": {}, "status": status}
        return name


def as_json(answer) -> bytes:
    return json.dumps(answer).encode()


def workflow(prefix="film") -> dict:
    return {
        "1": {"class_type": "Text", "inputs": {"text": "a"}, "_meta": {"title": "Prompt"}},
        "2": {"class_type": "Text", "inputs": {"text": "film"}, "_meta": {"title": "Name"}},
        "9": {"class_type": "Save", "inputs": {"text": ["1", 0], "filename_prefix": prefix}},
    }


def jobs_of(*texts, prefix="film", batch="b"):
    rows = [Row(i, i + 1, {"Prompt.text": text}) for i, text in enumerate(texts, 1)]
    return make_jobs(rows, workflow(prefix), batch=batch)
