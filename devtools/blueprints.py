"""Subgraph blueprints: a whole stage chain as one node, for hosts whose node library lists them.

Described like the workflows (`graph_format`), and written by `make_workflows` into `subgraphs/`.
ComfyUI shows each under *Subgraph Blueprints*, by its file's name.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from .graph_format import Graph, Link, Node, links_of, saved_node

INPUT, OUTPUT = -10, -20  # ids of the two ends of a subgraph, as LiteGraph has them
WITHIN = "input"  # Link(WITHIN, n): the subgraph's own input n
END_PX, ROW_PX = 160, 20


@dataclass(frozen=True)
class Port:
    """An input or output of the whole; `source` of an output, `widget` of an input with a value."""

    name: str
    type: str
    source: Link | None = None
    widget: bool = False


@dataclass(frozen=True)
class Blueprint:
    name: str
    about: str
    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def all_blueprints() -> tuple[Blueprint, ...]:
    return (two_stages(), enlarge())


def two_stages() -> Blueprint:
    inputs = (
        *_models("stage_1_model", "proxy_model", "detail_model"),
        Port("positive", "CONDITIONING"), Port("negative", "CONDITIONING"), Port("vae", "VAE"),
        *_sizes(),
    )  # fmt: skip
    at = {port.name: Link(WITHIN, i) for i, port in enumerate(inputs)}
    nodes = (
        _plan(at),
        Node("proxy", "AtlasVidSemanticProxyGenerator", "Stage 1: the proxy", (510, 0),
             {"model": at["stage_1_model"], "positive": at["positive"],
              "negative": at["negative"], "plan": Link("plan")}),
        _proxy_video(at, fps=Link("proxy", 2)),
        *_stage_2(at, fps=Link("proxy", 1)),
    )  # fmt: skip
    return Blueprint(
        "AtlasVid two stages",
        "Text to a large, long video: a small proxy first, then the detail it guides. Connect one "
        "Wan2.1 model three times, or with the LoRA of each stage in between.",
        nodes, inputs,
        (Port("video", "VIDEO", Link("video")), Port("proxy_video", "VIDEO", Link("proxy_video"))),
    )  # fmt: skip


def enlarge() -> Blueprint:
    inputs = (
        *_models("proxy_model", "detail_model"), Port("positive", "CONDITIONING"),
        Port("vae", "VAE"), Port("video", "VIDEO"), *_sizes(),
    )  # fmt: skip
    at = {port.name: Link(WITHIN, i) for i, port in enumerate(inputs)}
    nodes = (
        _plan(at, r_t=1.0),
        Node("proxy", "AtlasVidVideoToProxy", "The video is the proxy", (510, 0),
             {"video": at["video"], "vae": at["vae"], "plan": Link("plan")}),
        _proxy_video(at, fps=Link("proxy", 3), audio=Link("proxy", 1)),
        *_stage_2(at, fps=Link("proxy", 2), audio=Link("proxy", 1)),
    )  # fmt: skip
    return Blueprint(
        "AtlasVid enlarge a video",
        "Any video made larger, with its sound: it is the proxy that guides the detail.",
        nodes, inputs,
        (Port("video", "VIDEO", Link("video")), Port("proxy_video", "VIDEO", Link("proxy_video"))),
    )  # fmt: skip


def _models(*names: str) -> tuple[Port, ...]:
    return tuple(Port(name, "MODEL") for name in names)


def _sizes() -> tuple[Port, ...]:
    return tuple(Port(name, "INT", widget=True) for name in ("width", "height", "frames"))


def _plan(at: dict[str, Link], **more: Any) -> Node:
    sizes = {name: at[name] for name in ("width", "height", "frames")}
    return Node("plan", "AtlasVidPlan", "Plan", (0, 0), {**sizes, **more}, 440, 800)


def _proxy_video(at: dict[str, Link], **of_video: Link) -> Node:
    inputs = {"vae": at["vae"], "samples": Link("proxy"), **of_video}
    return Node("proxy_video", "AtlasVidTiledVAEDecodeToVideo", "Proxy video", (510, 380), inputs)


def _stage_2(at: dict[str, Link], **of_video: Link) -> tuple[Node, ...]:
    plan = Link("plan")
    return (
        Node("guide", "AtlasVidScaledRoPEAligner", "The guide", (910, 0),
             {"model": at["proxy_model"], "proxy": Link("proxy"), "plan": plan}),
        Node("patch", "AtlasVidLocalityPreservingPatch", "Local, guided attention", (910, 190),
             {"model": at["detail_model"], "plan": plan, "guide": Link("guide")}),
        Node("detail", "AtlasVidDetailJointSampler", "Stage 2: the detail", (910, 380),
             {"model": Link("patch"), "plan": plan, "positive": at["positive"],
              "proxy": Link("proxy"), "vae": at["vae"], "start": "proxy"}),
        Node("video", "AtlasVidTiledVAEDecodeToVideo", "Video", (1310, 0),
             {"vae": at["vae"], "samples": Link("detail"), **of_video}),
    )  # fmt: skip


def blueprint_format(print_: Blueprint, infos: dict[str, dict]) -> dict:
    """The file: a workflow of one node, whose type is the subgraph that the file defines."""
    graph = Graph(print_.name, print_.nodes, (), ())
    ports = {WITHIN: (INPUT, [port.type for port in print_.inputs])}
    links = list(links_of(graph, infos, ports))
    numbers = graph.numbers()
    for slot, port in enumerate(print_.outputs):
        assert port.source is not None
        source = (numbers[port.source.node], port.source.slot)
        links.append([len(links) + 1, *source, OUTPUT, slot, port.type])
    kind = str(uuid.uuid5(uuid.NAMESPACE_URL, f"atlasvid/{print_.name}"))
    subgraph = {
        "id": kind, "version": 1, "revision": 0, "name": print_.name, "config": {},
        "state": {"lastGroupId": 0, "lastNodeId": len(numbers), "lastLinkId": len(links),
                  "lastRerouteId": 0},
        "inputNode": {"id": INPUT, "bounding": [-240, 0, END_PX, _height(print_.inputs)]},
        "outputNode": {"id": OUTPUT, "bounding": [1700, 0, END_PX, _height(print_.outputs)]},
        "inputs": _ends(kind, print_.inputs, links, (INPUT, 1, 2)),
        "outputs": _ends(kind, print_.outputs, links, (OUTPUT, 3, 4)),
        "widgets": [],
        "nodes": [saved_node(n, numbers[n.name], infos[n.type], links) for n in print_.nodes],
        "groups": [],
        "links": [dict(zip(LINK_KEYS, link, strict=True)) for link in links],
        "extra": {},
    }  # fmt: skip
    node = {
        "id": 1, "type": kind, "pos": [0, 0], "size": [330, 40 + 26 * len(print_.inputs)],
        "flags": {}, "order": 0, "mode": 0, "title": print_.name, "properties": {},
        "widgets_values": [],
        "inputs": [
            {"name": p.name, "type": p.type, "link": None}
            | ({"widget": {"name": p.name}} if p.widget else {})
            for p in print_.inputs
        ],
        "outputs": [{"name": p.name, "type": p.type, "links": []} for p in print_.outputs],
    }  # fmt: skip
    return {
        "revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [node], "links": [],
        "version": 0.4, "definitions": {"subgraphs": [subgraph]},
        "extra": {"BlueprintDescription": print_.about},
    }  # fmt: skip


LINK_KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def _height(ports: tuple[Port, ...]) -> int:
    return ROW_PX * len(ports) + 40


def _ends(kind: str, ports: tuple[Port, ...], links: list[list], end: tuple[int, int, int]) -> list:
    """The subgraph's inputs or outputs; `end`: its id, and where a link names it and the slot."""
    number, at, slot_at = end
    return [
        {
            "id": str(uuid.uuid5(uuid.UUID(kind), f"{number}/{port.name}")),
            "name": port.name,
            "type": port.type,
            "linkIds": [x[0] for x in links if x[at] == number and x[slot_at] == slot],
        }
        for slot, port in enumerate(ports)
    ]
