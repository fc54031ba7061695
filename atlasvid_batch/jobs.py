"""Rows and a workflow become jobs. A job's key is a hash of all that it does, so that the same job
has the same key tomorrow, wherever its row has moved; its outputs carry the key in their names.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .mapping import Target, column_targets, label, resolve, with_values
from .table import Row, TableError

RESERVED = ("id", "priority")
PREFIX = "filename_prefix"
MOST_WORDS_BYTES = 60  # of an id in a file name, which may have 255 in all


@dataclass(frozen=True)
class Job:
    """`workflow` is what is queued; `columns` says which column sets an input, `settings` which
    address of --set.
    """

    key: str
    name: str
    row: Row
    priority: float
    workflow: dict
    columns: Mapping[Target, str]
    settings: Mapping[Target, str] = field(default_factory=dict)

    def fills(self, target: Target) -> bool:
        """Whether the row itself has a value for an input."""
        return self.columns.get(target) in self.row.values

    def blame(self, node_errors: dict) -> tuple[list[str], bool]:
        """The server's words on a refused workflow; whether a column of the table is to blame."""
        lines, ours = [], False
        for node, found in node_errors.items():
            for error in found.get("errors", []):
                name = (error.get("extra_info") or {}).get("input_name", "")
                column = self.columns.get(Target(node, name))
                ours |= column is not None
                what = f"column {column!r}: " if column else ""
                words = f"{error.get('message')}: {error.get('details')}"
                lines.append(f"{what}{label(self.workflow, Target(node, name))}: {words}")
        return lines, ours


def make_jobs(
    rows: Sequence[Row],
    workflow: dict,
    mapped: Mapping[str, list[str]] | None = None,
    settings: Mapping[str, str] | None = None,
    ignored: Sequence[str] = (),
    batch: str = "",
) -> list[Job]:
    """The jobs in the order to run them: higher `priority` first, then as in the table.

    `settings`: address -> value for every job. `batch` goes into the names of files.
    Raises TableError naming row and column.
    """
    known = dict.fromkeys(column for row in rows for column in row.values)
    mapped = mapped or {}
    for column in [*mapped, *ignored]:
        if column not in known:
            raise TableError(f"the table has no column {column!r}; it has {', '.join(known)}")
    skip = {*RESERVED, *ignored} - set(mapped)
    targets = column_targets(workflow, [c for c in known if c not in skip], mapped)
    fixed = _settings(workflow, settings or {})
    by_target = {t: column for column, found in targets.items() for t in found}
    by_setting = {t: address for t, (address, _) in fixed.items()}
    jobs, seen = [], Counter[str]()
    for row in rows:
        try:
            ready = with_values(workflow, [(t, value) for t, (_, value) in fixed.items()])
            ready = with_values(ready, _values(row, targets))
        except TableError as error:
            raise TableError(f"{row}: {error}") from None
        key = _key(row, ready)
        seen[key] += 1
        key = f"{key}-{seen[key]}" if seen[key] > 1 else key
        name = str(row.values.get("id", f"row {row.number}"))
        ready = tagged(ready, tag_of(key, batch), words_of(str(row.values.get("id", ""))))
        jobs.append(Job(key, name, row, _priority(row), ready, by_target, by_setting))
    return sorted(jobs, key=lambda job: (-job.priority, job.row.number))


def tag_of(key: str, batch: str) -> str:
    """What the names of a job's files hold."""
    return f"{key}_{batch}"


def words_of(name: str) -> str:
    """An id as file names take it, where its job's key leaves letters of it out; else nothing.

    Keys stay as they were, since by them a batch knows what it has done.
    """
    letters = [c for c in unicodedata.normalize("NFC", name) if c.isalnum() and not c.isascii()]
    if not letters:
        return ""
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else "-" for c in name)
    kept = re.sub("-+", "-", unicodedata.normalize("NFC", kept)).strip("-")
    return kept.encode()[:MOST_WORDS_BYTES].decode(errors="ignore").rstrip("-")


def tagged(workflow: dict, tag: str, words: str = "") -> dict:
    """A copy whose saved files have the words and the tag in their names, where a prefix is plain
    text.

    A server does not give out a file with `..` in its name: one dot of it stays.
    """
    out = copy.deepcopy(workflow)
    for node in out.values():
        prefix = node["inputs"].get(PREFIX)
        if isinstance(prefix, str):
            *folders, name = re.split(r"([/\\])", prefix)
            name = re.sub(r"\.{2,}", ".", name)
            name += f"_{words}" if words else ""
            node["inputs"][PREFIX] = f"{''.join(folders)}{name}_{tag}"
    return out


def saving_nodes(workflow: dict) -> dict[str, Any]:
    """Node -> the prefix of the files that it saves: text, or a link to another node."""
    found = {key: (node.get("inputs") or {}).get(PREFIX) for key, node in workflow.items()}
    return {key: prefix for key, prefix in found.items() if prefix is not None}


def _settings(workflow: dict, settings: Mapping[str, str]) -> dict[Target, tuple[str, str]]:
    """Input -> address, value; of two that set one input the last."""
    out: dict[Target, tuple[str, str]] = {}
    for address, value in settings.items():
        try:
            out |= dict.fromkeys(resolve(workflow, address), (address, value))
        except TableError as error:
            raise TableError(f"--set {address}: {error}") from None
    return out


def _values(row: Row, targets: Mapping[str, tuple[Target, ...]]) -> list[tuple[Target, Any]]:
    return [(t, row.values[c]) for c, found in targets.items() if c in row.values for t in found]


def _priority(row: Row) -> float:
    try:
        return float(row.values.get("priority", 0))
    except (TypeError, ValueError):
        raise TableError(
            f"{row}: column 'priority': {row.values['priority']!r} is no number"
        ) from None


def _key(row: Row, workflow: dict) -> str:
    """Ten hex digits of kinds and inputs (titles don't count), after the row's id."""
    what = {key: [node["class_type"], node["inputs"]] for key, node in workflow.items()}
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:10]
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(row.values.get("id", ""))).strip("-")[:40]
    return f"{name}-{digest}" if name else digest
