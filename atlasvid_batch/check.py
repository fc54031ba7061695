"""Rows held against what a server says of its nodes, before the first job is queued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .client import Client
from .jobs import Job
from .mapping import Target, label

MOST_PROBLEMS = 20
STRICT = ("AtlasVidPlan",)  # kinds that refuse a whole number between its steps; others don't


def check_jobs(jobs: Sequence[Job], urls: Sequence[str]) -> list[str] | None:
    """What is wrong, a line for each; none where a server finds nothing wrong; None where no server
    could be asked. Each worker asks its own server again.
    """
    first: list[str] | None = None
    for url in urls:
        try:
            found = problems(jobs, Client(url).get("/object_info"))
        except (OSError, ValueError):
            continue
        if not found:
            return []
        first = first or found
    return first


def problems(jobs: Sequence[Job], infos: dict[str, dict]) -> list[str]:
    """`infos`: kind of a node -> its entry in the server's /object_info."""
    first = jobs[0].workflow
    kinds = sorted({n["class_type"] for n in first.values()} - set(infos))
    found = [f"the server has no node of the kind {kind!r}: install its pack" for kind in kinds]
    for job in sorted(jobs, key=lambda job: job.row.number):
        for target, column in job.columns.items():
            node = job.workflow[target.node]
            error = trouble(infos.get(node["class_type"], {}), target, node["inputs"][target.input])
            if error:
                name = label(first, target)
                where = "" if name.lower() == column.lower() else f"{name}: "
                found.append(f"{job.row}, column {column!r}: {where}{error}")
    if len(found) > MOST_PROBLEMS:
        found[MOST_PROBLEMS:] = [f"... and {len(found) - MOST_PROBLEMS} more"]
    return found


def trouble(info: dict, target: Target, value: Any) -> str | None:
    """What is wrong with a value of an input, by the limits and choices that its node declares."""
    groups = info.get("input", {})
    spec = next((g[target.input] for g in groups.values() if target.input in g), None)
    if not isinstance(spec, list) or not spec:
        return None
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    choices = spec[0] if isinstance(spec[0], list) else options.get("options")
    if isinstance(choices, list) and all(isinstance(c, str) for c in choices):
        if value not in choices:
            return f"{value!r} is none of {', '.join(choices[:30]) or 'no choices'}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < options.get("min", value):
            return f"{value} is below {options['min']}"
        if value > options.get("max", value):
            return f"{value} is above {options['max']}"
        if info.get("name") in STRICT and isinstance(value, int):
            return _off_step(value, options.get("min", 0), options.get("step") or 1)
    return None


def _off_step(value: int, first: int, step: int) -> str | None:
    below = value - (value - first) % step
    return (
        None if below == value else f"{value} is none of its steps: take {below} or {below + step}"
    )
