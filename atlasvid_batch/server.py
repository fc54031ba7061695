"""One ComfyUI server as a batch sees it: give it a job, ask where a job stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .client import Client, Strange
from .jobs import Job, saving_nodes

MARK = "atlasvid_batch"  # under this name a queued job carries its batch and its key


@dataclass(frozen=True)
class Standing:
    """Where a job stands on the server: running, pending, partial, done, failed.

    `seconds`: how long it ran, by the server's own clock, where it says so.
    """

    state: str
    files: list[dict] = field(default_factory=list)
    kind: str = ""  # of the error
    error: str = ""
    seconds: float | None = None


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
        return {item[1]: (state, self._key(item)) for item, state in self._items()}

    def _items(self) -> list[tuple[list, str]]:
        answer = self.client.get("/queue", timeout_s=20)
        found = []
        for name, state in (("queue_pending", "pending"), ("queue_running", "running")):
            if not isinstance(answer.get(name), list):
                raise Strange(f"no ComfyUI answers /queue: it names no {name}")
            found += [(item, state) for item in answer[name]]
        return found

    def survey(self) -> dict[str, tuple[str, str]]:
        """Key -> (prompt id, state) of this batch's jobs, as the server knows them since its start.

        State: pending, running, done, failed; partial where it runs a part of the workflow alone.
        Of several tries of a job the last one.
        """
        waiting = self._items()  # asked first: a job that ends meanwhile is then in the history
        found: dict[str | None, tuple[str, str]] = {}
        ended = self.client.get("/history")
        for name, entry in ended.items():
            item = entry["prompt"]
            found[self._key(item)] = (name, _whole_or_partial(item, standing(entry).state))
        for item, state in waiting:
            if item[1] not in ended:
                found[self._key(item)] = (item[1], _whole_or_partial(item, state))
        return {key: known for key, known in found.items() if key}

    def ended(self, prompt_id: str) -> Standing | None:
        """How a job ended; None where the server does not know of its end."""
        entry = self.client.get(f"/history/{prompt_id}").get(prompt_id)
        return standing(entry) if entry else None

    def _key(self, item: Any) -> str | None:
        """The key in a queue item: [number, prompt id, workflow, extra data, outputs]."""
        extra = item[3] if len(item) > 3 else None
        mark = extra.get(MARK) if isinstance(extra, dict) else None
        return mark[1] if isinstance(mark, list) and mark[:1] == [self.batch] else None


def _whole_or_partial(item: list, state: str) -> str:
    """A queue item's state; partial where a node that saves is none of the outputs to be made."""
    whole = len(item) < 5 or saving_nodes(item[2]).keys() <= set(item[4])
    return state if whole else "partial"


def standing(entry: dict) -> Standing:
    """What an entry of the server's history says."""
    status = entry.get("status") or {}
    messages = status.get("messages") or []
    if status.get("status_str") == "success":
        return Standing(
            "done", saved_files(entry.get("outputs") or {}), seconds=_seconds(dict(messages))
        )
    for kind, data in reversed(messages):
        if kind == "execution_error":
            words = f"{data.get('node_type')}: {str(data.get('exception_message')).strip()}"
            return Standing("failed", kind=str(data.get("exception_type")), error=words)
        if kind == "execution_interrupted":
            return Standing("failed", kind="interrupted", error="cancelled on the server")
    return Standing("failed", kind="unknown", error="the server does not say why")


def _seconds(messages: dict[str, dict]) -> float | None:
    """From a job's begin to its end."""
    begin_ms = messages.get("execution_start", {}).get("timestamp")
    end_ms = messages.get("execution_success", {}).get("timestamp")
    return None if begin_ms is None or end_ms is None else (end_ms - begin_ms) / 1000


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
