"""A workflow described once, written in both of ComfyUI's formats.

The save format is what the web interface opens (LiteGraph, version 0.4): nodes with places, links,
widget values in the order of the node's own inputs. The API format is what POST /prompt takes:
inputs by name, without what is bypassed. Types and order come from the server's /object_info.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
BYPASSED = 4
ROW_PX, HEAD_PX = 26, 40
# How a workflow opens: its first columns at a size that can be read, below the page's own bars.
VIEW = {"scale": 0.7, "offset": [140, 215]}


@dataclass(frozen=True)
class Link:
    """The output number `slot` of the node called `node`."""

    node: str
    slot: int = 0


@dataclass(frozen=True)
class Node:
    """`inputs` by name: values and Links; what is left out has the node's default."""

    name: str
    type: str
    title: str
    at: tuple[int, int]
    inputs: dict[str, Any] = field(default_factory=dict)
    width_px: int = 330
    height_px: int | None = None
    bypassed: bool = False
    models: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Note:
    text: str
    at: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Group:
    title: str
    box: tuple[int, int, int, int]  # x, y, width, height
    color: str = "#3f789e"


@dataclass(frozen=True)
class Graph:
    name: str
    nodes: tuple[Node, ...]
    notes: tuple[Note, ...]
    groups: tuple[Group, ...]

    def numbers(self) -> dict[str, int]:
        return {node.name: i + 1 for i, node in enumerate(self.nodes)}


def specs(info: dict) -> Iterator[tuple[str, Any, dict, bool]]:
    """Inputs of one /object_info entry, in order: name, type or choices, options, optional."""
    for kind in ("required", "optional"):
        for name, spec in info["input"].get(kind, {}).items():
            yield name, spec[0], spec[1] if len(spec) > 1 else {}, kind == "optional"


def is_widget(kind: Any, options: dict) -> bool:
    return (isinstance(kind, list) or kind in WIDGET_TYPES) and not options.get("forceInput")


def default_of(kind: Any, options: dict) -> Any:
    if "default" in options:
        return options["default"]
    choices = kind if isinstance(kind, list) else options.get("options", [])
    return choices[0] if choices else ""


def source_of(graph: Graph, link: Link) -> Link:
    """The link behind bypassed nodes: their first input goes straight through."""
    nodes = {node.name: node for node in graph.nodes}
    while nodes[link.node].bypassed:
        link = next(v for v in nodes[link.node].inputs.values() if isinstance(v, Link))
    return link


def api_format(graph: Graph, infos: dict[str, dict]) -> dict[str, dict]:
    numbers, out = graph.numbers(), {}
    for node in graph.nodes:
        if node.bypassed:
            continue
        inputs: dict[str, Any] = {}
        for name, kind, options, _ in specs(infos[node.type]):
            if name in node.inputs:
                value = node.inputs[name]
                if isinstance(value, Link):
                    link = source_of(graph, value)
                    value = [str(numbers[link.node]), link.slot]
                inputs[name] = value
            elif is_widget(kind, options):
                inputs[name] = default_of(kind, options)
        _check(node, infos[node.type], inputs)
        out[str(numbers[node.name])] = {
            "class_type": node.type, "inputs": inputs, "_meta": {"title": node.title},
        }  # fmt: skip
    return out


def _check(node: Node, info: dict, inputs: dict) -> None:
    known = {name for name, *_ in specs(info)}
    missing = {n for n, _, _, optional in specs(info) if not optional} - set(inputs)
    unknown = set(node.inputs) - known
    if missing or unknown:
        raise ValueError(f"{node.name} ({node.type}): missing {missing}, unknown {unknown}")


def save_format(graph: Graph, infos: dict[str, dict]) -> dict:
    numbers = graph.numbers()
    links = list(links_of(graph, infos))
    nodes = [saved_node(node, numbers[node.name], infos[node.type], links) for node in graph.nodes]
    first_note = len(nodes) + 1
    for i, note in enumerate(graph.notes):
        nodes.append(
            {
                "id": first_note + i, "type": "MarkdownNote", "pos": list(note.at),
                "size": list(note.size), "flags": {}, "order": first_note + i - 1, "mode": 0,
                "inputs": [], "outputs": [], "properties": {}, "widgets_values": [note.text],
                "color": "#432", "bgcolor": "#653",
            }
        )  # fmt: skip
    for place, number in enumerate(execution_order([n["id"] for n in nodes], links)):
        nodes[number - 1]["order"] = place
    groups = [
        {
            "id": i + 1, "title": g.title, "bounding": list(g.box), "color": g.color,
            "font_size": 24, "flags": {},
        }
        for i, g in enumerate(graph.groups)
    ]  # fmt: skip
    return {
        "last_node_id": len(nodes), "last_link_id": len(links), "nodes": nodes, "links": links,
        "groups": groups, "config": {}, "extra": {"ds": VIEW}, "version": 0.4,
    }  # fmt: skip


def execution_order(numbers: list[int], links: list[list]) -> list[int]:
    """As LiteGraph sorts nodes when it opens a workflow: another order in the file would count as
    the user's first change, to be undone."""
    waits = {number: sum(link[3] == number for link in links) for number in numbers}
    ready = [number for number in numbers if not waits[number]]
    for number in ready:  # grows meanwhile
        for _, source, _, target, _, _ in sorted(links, key=lambda link: (link[2], link[0])):
            if source == number:
                waits[target] -= 1
                if not waits[target]:
                    ready.append(target)
    return ready


def links_of(
    graph: Graph, infos: dict[str, dict], outside: dict[str, tuple[int, list[str]]] | None = None
) -> Iterator[list]:
    """[number, from, slot, to, slot, type] of each connection.

    `outside`: more that a Link may name, as its number and the types of its outputs.
    """
    numbers = graph.numbers()
    types = {node.name: infos[node.type]["output"] for node in graph.nodes}
    for name, (number, kinds) in (outside or {}).items():
        numbers[name], types[name] = number, kinds
    count = 0
    for node in graph.nodes:
        for slot, (name, _) in enumerate(_sockets(node, infos[node.type])):
            link = node.inputs.get(name)
            if isinstance(link, Link):
                count += 1
                kind = types[link.node][link.slot]
                yield [count, numbers[link.node], link.slot, numbers[node.name], slot, kind]


def _sockets(node: Node, info: dict) -> list[tuple[str, str]]:
    return [
        (name, kind if isinstance(kind, str) else "COMBO")
        for name, kind, options, _ in specs(info)
        if not is_widget(kind, options) or isinstance(node.inputs.get(name), Link)
    ]


def saved_node(node: Node, number: int, info: dict, links: list[list]) -> dict:
    into = {(link[3], link[4]): link[0] for link in links}
    inputs, values = [], []
    for slot, (name, kind) in enumerate(_sockets(node, info)):
        inputs.append({"name": name, "type": kind, "link": into.get((number, slot))})
    for name, kind, options, _ in specs(info):
        if not is_widget(kind, options):
            continue
        if isinstance(node.inputs.get(name), Link):
            next(i for i in inputs if i["name"] == name)["widget"] = {"name": name}
            values.append(default_of(kind, options))
        else:
            values.append(node.inputs.get(name, default_of(kind, options)))
        if kind == "INT" and (name in ("seed", "noise_seed")):
            values.append("fixed")  # control_after_generate
        if any(options.get(key) for key in ("video_upload", "image_upload")):
            values.append("image")  # the upload button
    outputs = [
        {
            "name": name, "type": kind,
            "links": [x[0] for x in links if x[1] == number and x[2] == slot],
        }
        for slot, (name, kind) in enumerate(zip(info["output_name"], info["output"], strict=True))
    ]  # fmt: skip
    rows = max(len(inputs), len(outputs)) + len(values)
    properties: dict[str, Any] = {"Node name for S&R": node.type}
    if node.models:
        properties["models"] = list(node.models)
    return {
        "id": number, "type": node.type, "pos": list(node.at),
        "size": [node.width_px, node.height_px or HEAD_PX + ROW_PX * rows],
        "flags": {}, "order": number - 1, "mode": BYPASSED if node.bypassed else 0,
        "inputs": inputs, "outputs": outputs, "title": node.title, "properties": properties,
        "widgets_values": values,
    }  # fmt: skip
