"""One ComfyUI server as a batch sees it: give it a job, ask where a job stands, find its files."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .client import Client
from .jobs import Job, saving_nodes
from .whole import KINDS, is_whole

MARK = "atlasvid_batch"  # under this name a queued job carries its batch and its key
MOST_TRIES = 99  # files of one prefix that are looked at


@dataclass(frozen=True)
class Standing:
    """Where a job stands on the server: running, pending, done, failed."""

    state: str
    files: list[dict] = field(default_factory=list)
    kind: str = ""  # of the error
    error: str = ""


class BatchServer:
    """Every call raises OSError where the server is away."""

    def __init__(self, url: str, batch: str):
        self.url = url.rstrip("/")
        self.batch = batch
        self.client_id = f"atlasvid-batch-{batch}"  # the same after a restart: events go on
        self.client = Client(self.url)

    def submit(self, job: Job) -> str:
        """-> the server's name for the job. Raises JobRefused."""
        return self.client.submit(job.workflow, self.client_id, {MARK: [self.batch, job.key]})

    def queue(self) -> dict[str, tuple[str, str | None]]:
        """prompt id -> (running or pending, the key of a batch's job)."""
        answer = self.client.get("/queue", timeout_s=20)
        found = {}
        for name, state in (("queue_pending", "pending"), ("queue_running", "running")):
            found.update({item[1]: (state, self._key(item)) for item in answer[name]})
        return found

    def survey(self) -> dict[str, tuple[str, str]]:
        """Key -> (prompt id, state) of this batch's jobs, as the server knows them since its start.

        State: pending, running, done, failed. Of several tries of a job the last one.
        """
        found: dict[str | None, tuple[str, str]] = {}
        for name, entry in self.client.get("/history").items():
            found[self._key(entry["prompt"])] = (name, standing(entry).state)
        for name, (state, key) in self.queue().items():
            found[key] = (name, state)
        return {key: known for key, known in found.items() if key}

    def ended(self, prompt_id: str) -> Standing | None:
        """How a job ended; None where the server does not know of its end."""
        entry = self.client.get(f"/history/{prompt_id}").get(prompt_id)
        return standing(entry) if entry else None

    def cancel(self, prompt_id: str) -> None:
        """Takes a job that has not begun off the queue."""
        self.client.read("/queue", json.dumps({"delete": [prompt_id]}).encode())

    def find_files(self, job: Job) -> list[dict] | None:
        """The job's saved files in the output folder; None where one is missing or not whole.

        A job that saves no file, or under a name that is not known beforehand, is never found.
        """
        found = [self._newest(prefix) for prefix in saving_nodes(job.workflow).values()]
        files = [file for file in found if file is not None]
        return files if files and len(files) == len(found) else None

    def _newest(self, prefix: str) -> dict | None:
        folder, _, name = prefix.replace("\\", "/").rpartition("/")
        if "%" in prefix:
            return None
        for kind in KINDS:
            for shape in ("{}_{:05}_{}", "{}_{:05}{}"):
                newest = None
                for number in range(1, MOST_TRIES):
                    filename = shape.format(name, number, kind)
                    file = {"filename": filename, "subfolder": folder, "type": "output"}
                    if not self.client.exists(file):
                        break
                    newest = file
                if newest and self._is_whole(newest):
                    return newest
        return None

    def _is_whole(self, file: dict) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file["filename"]
            self.client.save(file, copy)
            return is_whole(copy)

    def _key(self, item: Any) -> str | None:
        """The key in a queue item: [number, prompt id, workflow, extra data, outputs]."""
        extra = item[3] if len(item) > 3 else None
        mark = extra.get(MARK) if isinstance(extra, dict) else None
        return mark[1] if isinstance(mark, list) and mark[:1] == [self.batch] else None


def standing(entry: dict) -> Standing:
    """What an entry of the server's history says."""
    status = entry.get("status") or {}
    if status.get("status_str") == "success":
        return Standing("done", saved_files(entry.get("outputs") or {}))
    for kind, data in reversed(status.get("messages") or []):
        if kind == "execution_error":
            words = f"{data.get('node_type')}: {str(data.get('exception_message')).strip()}"
            return Standing("failed", kind=str(data.get("exception_type")), error=words)
        if kind == "execution_interrupted":
            return Standing("failed", kind="interrupted", error="cancelled on the server")
    return Standing("failed", kind="unknown", error="the server does not say why")


def saved_files(outputs: dict) -> list[dict]:
    """Files in the output folder among a job's outputs (previews lie elsewhere), each once."""
    groups = [group for node in outputs.values() for group in node.values()]
    items = [item for group in groups if isinstance(group, list) for item in group]
    keep = ("filename", "subfolder", "type")
    files = [
        {k: item.get(k, "") for k in keep}
        for item in items
        if isinstance(item, dict) and item.get("filename") and item.get("type") == "output"
    ]
    return [file for i, file in enumerate(files) if file not in files[:i]]
