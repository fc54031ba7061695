"""Where a column's values go in a workflow of the API format, and as what type.

An address is `input` where one node alone has an input of that name, else `where.input`: `where`
is a node's title, its kind (class_type), its id, or `*` for every node with such an input.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .table import TableError

YES, NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


SAFE = re.compile(r"[\w.-]+")  # needs no quotes in a shell


@dataclass(frozen=True)
class Target:
    node: str
    input: str


def read_workflow(path: Path) -> dict:
    """A workflow in API format. Raises TableError, also for the save format."""
    try:
        workflow = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableError(f"{path.name} is no JSON: {error}") from None
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
        raise TableError(
            f"{path.name} is in the format of the canvas: use Workflow > Export (API) in ComfyUI"
        )
    nodes = workflow.values() if isinstance(workflow, dict) else ()
    if not nodes or not all(isinstance(n, dict) and "class_type" in n for n in nodes):
        raise TableError(f"{path.name} holds no workflow of the API format")
    for node in nodes:
        node.setdefault("inputs", {})
    return workflow


def resolve(workflow: dict, address: str) -> tuple[Target, ...]:
    """The inputs that an address names. Raises TableError naming what there is."""
    where, _, name = address.rpartition(".")
    nodes = [key for key in workflow if _matches(workflow, key, where)]
    if where and not nodes:
        raise TableError(f"no node has the title, kind or id {where!r}{_titles(workflow, where)}")
    having = [key for key in nodes if name in workflow[key]["inputs"]]
    if not having:
        raise TableError(f"no input is called {name!r}; {_choices(workflow, nodes, name)}")
    settable = [key for key in having if not is_link(workflow[key]["inputs"][name])]
    if not settable:
        source = workflow[having[0]]["inputs"][name][0]
        raise TableError(
            f"{label(workflow, Target(having[0], name))} is fed by {title(workflow, source)!r}: "
            "set an input of that node"
        )
    if len(settable) > 1 and where != "*":
        choices = [label(workflow, Target(key, name)) for key in settable]
        twins = len(set(choices)) < len(choices)
        choices = [f"{key}.{name}" for key in settable] if twins else choices
        raise TableError(
            f"{len(settable)} inputs fit: {', '.join(map(repr, choices))}; name one, or "
            f"'*.{name}' for all"
        )
    return tuple(Target(key, name) for key in settable)


def column_targets(
    workflow: dict, columns: Iterable[str], mapped: Mapping[str, list[str]]
) -> dict[str, tuple[Target, ...]]:
    """Column -> its inputs; `mapped` holds the addresses of columns whose name is none.

    Raises TableError naming the column, also where two columns set one input.
    """
    out: dict[str, tuple[Target, ...]] = {}
    taken: dict[Target, str] = {}
    for column in columns:
        found: list[Target] = []
        for address in mapped.get(column, [column]):
            try:
                found += resolve(workflow, address)
            except TableError as error:
                quoted = column if SAFE.fullmatch(column) else f'"{column}"'
                other = f" (or --map {quoted}=ADDRESS, or --ignore {quoted})"
                hint = "" if column in mapped else other
                raise TableError(f"column {column!r}: {error}{hint}") from None
        for target in found:
            if target in taken:
                raise TableError(
                    f"columns {taken[target]!r} and {column!r} both set {label(workflow, target)}"
                )
            taken[target] = column
        out[column] = tuple(found)
    return out


def with_values(workflow: dict, values: Iterable[tuple[Target, Any]]) -> dict:
    """A copy of the workflow with these values in place, each as the type that it replaces.

    Raises TableError naming the input.
    """
    out = copy.deepcopy(workflow)
    for target, value in values:
        present = workflow[target.node]["inputs"][target.input]
        try:
            out[target.node]["inputs"][target.input] = converted(value, present)
        except ValueError as error:
            raise TableError(f"{label(workflow, target)}: {error}") from None
    return out


def converted(value: Any, like: Any) -> Any:
    """`value` (text, or of JSON) as the type of `like`. Raises ValueError.

    A whole number may be replaced by any: the page writes 6.0 as 6, so that its input may well take
    fractions. check.trouble refuses those for which it doesn't.
    """
    if isinstance(like, bool):
        word = str(value).strip().lower()
        if word not in YES + NO:
            raise ValueError(f"{value!r} is neither true nor false")
        return word in YES
    if isinstance(like, int):
        return _number(value)
    if isinstance(like, float):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is no number") from None
    if isinstance(like, str):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.loads(value) if isinstance(value, str) else value


def _number(value: Any) -> int | float:
    """Whole where it can be: also "24.0", as spreadsheets write it."""
    if isinstance(value, (str, int)):
        with contextlib.suppress(ValueError):
            return int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return int(number) if number.is_integer() else number


def is_link(value: Any) -> bool:
    """Whether an input is fed by another node: [id, slot]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def title(workflow: dict, key: str) -> str:
    node = workflow.get(key, {})
    return node.get("_meta", {}).get("title") or node.get("class_type", key)


def label(workflow: dict, target: Target) -> str:
    return f"{title(workflow, target.node)}.{target.input}"


def _choices(workflow: dict, nodes: list[str], name: str) -> str:
    """What to write instead: the inputs of a node of that name, else all that can be set."""

    def settable(keys: list[str]) -> list[Target]:
        return [
            Target(key, n) for key in keys for n, v in workflow[key]["inputs"].items()
            if not is_link(v)
        ]  # fmt: skip

    named = settable([key for key in nodes if _matches(workflow, key, name)])
    if named:
        return "that node has " + ", ".join(repr(label(workflow, t)) for t in named)
    return "there are " + ", ".join(sorted({target.input for target in settable(nodes)}))


def _matches(workflow: dict, key: str, where: str) -> bool:
    if where in ("", "*"):
        return True
    names = (key, title(workflow, key), workflow[key]["class_type"])
    return where.strip().lower() in (name.lower() for name in names)


def _titles(workflow: dict, where: str) -> str:
    titles = sorted({title(workflow, key) for key in workflow})
    near = get_close_matches(where, titles, n=1)
    meant = f": did you mean {near[0]!r}? " if near else ". "
    return meant + "There are " + ", ".join(map(repr, titles))
