"""Nodes under the names they once had, so that saved workflows and API prompts keep running.

A node whose id or inputs change gets an entry in RENAMED, for good. It then exists twice: anew, and
under its old id with its old inputs, marked deprecated, which hides it from the menus. Hosts that
know replacements are told, too, and can offer to bring a workflow up to date.
See docs/compatibility.md for what may change without an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest import io


@dataclass(frozen=True)
class Renamed:
    """`inputs`: old name -> new name, where they differ. `fixed`: inputs that the old node did not
    have, with the values that keep what it did."""

    old_id: str
    new: type[io.ComfyNode]
    inputs: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def old_name(self, new_name: str) -> str:
        return next((old for old, new in self.inputs.items() if new == new_name), new_name)


RENAMED: tuple[Renamed, ...] = ()


def twin(entry: Renamed) -> type[io.ComfyNode]:
    """The node under its old id, with its old inputs."""

    class Twin(entry.new):  # type: ignore[name-defined]
        @classmethod
        def define_schema(cls) -> io.Schema:
            schema = super().define_schema()
            new_id, schema.node_id = schema.node_id, entry.old_id
            schema.display_name = f"{schema.display_name} (old)"
            schema.description = f"An old name of {new_id}, kept for saved workflows."
            schema.is_deprecated = True
            schema.inputs = [i for i in schema.inputs if i.id not in entry.fixed]
            for given in schema.inputs:
                given.id = entry.old_name(given.id)
            return schema

        @classmethod
        def execute(cls, **given: Any) -> io.NodeOutput:
            named = {entry.inputs.get(name, name): value for name, value in given.items()}
            return super().execute(**named, **entry.fixed)

    Twin.__name__ = Twin.__qualname__ = entry.old_id
    return Twin


def replacement(entry: Renamed) -> dict[str, Any]:
    """What io.NodeReplace wants to know of it."""
    new, old = entry.new.define_schema(), twin(entry).define_schema()
    widgets = [i.id for i in old.inputs if isinstance(i, io.WidgetInput)]
    kept = [
        {"new_id": i.id, "old_id": entry.old_name(i.id)}
        for i in new.inputs
        if i.id not in entry.fixed
    ]
    return {
        "new_node_id": new.node_id, "old_node_id": entry.old_id, "old_widget_ids": widgets,
        "input_mapping": kept + [{"new_id": n, "set_value": v} for n, v in entry.fixed.items()],
        "output_mapping": [{"new_idx": i, "old_idx": i} for i in range(len(new.outputs))],
    }  # fmt: skip


async def register_replacements(entries: tuple[Renamed, ...] = RENAMED) -> None:
    """Tell hosts that know replacements (0.3.75 does not)."""
    if not hasattr(io, "NodeReplace"):
        return
    from comfy_api.latest import ComfyAPI

    for entry in entries:
        await ComfyAPI().node_replacement.register(io.NodeReplace(**replacement(entry)))
