"""Rows held against what a server says of its nodes, before the first job is queued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from .client import Client
from .jobs import Job
from .mapping import Target, label

MOST_PROBLEMS = 20
STRICT = ("AtlasVidPlan",)  # kinds that refuse a whole number between its steps; others don't
UPLOADS = ("image_upload", "video_upload", "audio_upload", "image_folder")  # choices are files


@dataclass(frozen=True)
class Checked:
    """What is wrong, a line for each; servers that could not be asked."""

    problems: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def check_jobs(jobs: Sequence[Job], urls: Sequence[str]) -> Checked:
    """Nothing is wrong where one server finds nothing wrong. Each worker asks its own again."""
    first: list[str] = []
    silent: list[str] = []
    for url in urls if jobs else ():
        try:
            found = problems(jobs, Client(url).get("/object_info"))
        except (OSError, ValueError):
            silent.append(url)
            continue
        if not found:
            return Checked()
        first = first or found
    return Checked(first, silent)


def problems(jobs: Sequence[Job], infos: dict[str, dict]) -> list[str]:
    """`infos`: kind of a node -> its entry in the server's /object_info."""
    if not jobs:
        return []
    first = jobs[0].workflow
    kinds = sorted({n["class_type"] for n in first.values()} - set(infos))
    found = [f"the server has no node of the kind {kind!r}: install its pack" for kind in kinds]
    for job in sorted(jobs, key=lambda job: job.row.number):
        for target, column in job.columns.items():
            if target not in job.settings or job.fills(target):
                found += _said(f"{job.row}, column {column!r}", column, job, target, infos)
    for target, address in jobs[0].settings.items():
        one = next((job for job in jobs if not job.fills(target)), None)
        if one is not None:  # the value is the same in all others
            found += _said(f"--set {address}", address, one, target, infos)
    found += _cut_off(jobs[0], infos)
    if len(found) > MOST_PROBLEMS:
        found[MOST_PROBLEMS:] = [f"... and {len(found) - MOST_PROBLEMS} more"]
    return found


def _said(place: str, name: str, job: Job, target: Target, infos: dict[str, dict]) -> list[str]:
    """The trouble with a job's value that came from a place, which calls its input `name`."""
    node = job.workflow[target.node]
    error = trouble(infos.get(node["class_type"], {}), target, node["inputs"][target.input])
    full = label(job.workflow, target)
    where = "" if full.lower() == name.lower() else f"{full}: "
    return [f"{place}: {where}{error}"] if error else []


def trouble(info: dict, target: Target, value: Any) -> str | None:
    """What is wrong with a value of an input, by the limits and choices that its node declares."""
    spec, options = _declared(info, target)
    choices = spec if isinstance(spec, list) else options.get("options")
    if isinstance(choices, list) and all(isinstance(c, str) for c in choices):
        upload = any(options.get(name) for name in UPLOADS)
        if value not in choices and not (upload and _may_be_there(str(value), choices)):
            return f"{value!r} is none of {', '.join(choices[:30]) or 'no choices'}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < options.get("min", value):
            return f"{value} is below {options['min']}"
        if value > options.get("max", value):
            return f"{value} is above {options['max']}"
        if spec == "INT" and _broken(value):
            return f"{value} is no whole number"
        if info.get("name") in STRICT and isinstance(value, int):
            return _off_step(value, options.get("min", 0), options.get("step") or 1)
    return None


def _declared(info: dict, target: Target) -> tuple[Any, dict]:
    """-> an input's type, or its list of choices, and its options, as /object_info has them."""
    groups = info.get("input", {})
    spec = next((g[target.input] for g in groups.values() if target.input in g), None)
    if not isinstance(spec, list) or not spec:
        return None, {}
    return spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def _cut_off(job: Job, infos: dict[str, dict]) -> list[str]:
    """Fractions that neither a column nor --set gives, in inputs that take whole numbers: a server
    would cut them off in silence.
    """
    found = []
    for key, node in job.workflow.items():
        for name, value in node["inputs"].items():
            target, info = Target(key, name), infos.get(node["class_type"], {})
            own = target not in job.columns and target not in job.settings
            if own and _declared(info, target)[0] == "INT" and _broken(value):
                found.append(f"{label(job.workflow, target)}: {value} is no whole number")
    return found


def _broken(value: Any) -> bool:
    return isinstance(value, float) and not value.is_integer()


def _may_be_there(name: str, choices: Sequence[str]) -> bool:
    """Whether a server may have a file that its list for uploads leaves out: one in a subfolder or
    another folder (`a.png [output]`), or of a kind of which it lists none.
    """
    if "/" in name or "\\" in name or name.endswith("]"):
        return True
    name, names = name.lower(), {choice.lower() for choice in choices}  # Windows takes either case
    return name in names or PurePath(name).suffix not in {PurePath(n).suffix for n in names}


def _off_step(value: int, first: int, step: int) -> str | None:
    below = value - (value - first) % step
    return (
        None if below == value else f"{value} is none of its steps: take {below} or {below + step}"
    )
