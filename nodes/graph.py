"""Which LoRA files lead to a node, and whether all of a file was used: plain dictionaries only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

TEXT_ENCODER_PREFIXES = ("lora_te", "text_encoders.", "text_encoder")


def lora_names(prompt: Mapping[str, Any] | None, node_id: str | None) -> Iterator[str]:
    """File names of the LoRA loaders upstream of a node's `model` input, nearest first.

    `prompt` is the job in API format: node id -> {"inputs": {name: value or [node id, slot]}}.
    """
    seen = set()
    node = (prompt or {}).get(str(node_id))
    while node is not None and id(node) not in seen:
        seen.add(id(node))
        link = node["inputs"].get("model")
        node = prompt.get(str(link[0])) if isinstance(link, list) else None
        inputs = node["inputs"] if node else {}
        name = inputs.get("lora_name")
        if isinstance(name, str) and inputs.get("strength_model", 1.0) != 0:
            yield name


def unmatched(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of a LoRA's names that extend no known module name (`<module>.lora_A.weight`)."""
    modules = frozenset(known)
    return [
        name
        for name in names
        if not name.startswith(TEXT_ENCODER_PREFIXES)
        and not any(stem in modules for stem in _stems(name))
    ]


def check_loras(
    prompt: Mapping[str, Any] | None,
    node_id: str | None,
    unmatched_in: Callable[[str], list[str]],
    node: str,
) -> None:
    """Refuse the job when a LoRA upstream was loaded in part only."""
    for name in lora_names(prompt, node_id):
        left = unmatched_in(name)
        if left:
            raise ValueError(
                f"{node}: {len(left)} weights of the LoRA {name!r} fit nothing in this MODEL "
                f"(for example {', '.join(left[:3])}); all must fit, or it works in part only. "
                "Load the LoRA made for this model (1.3B or 14B, text- or image-to-video), or "
                "bypass its loader."
            )


def _stems(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
