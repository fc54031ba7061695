"""Which LoRA files lead to a node, and whether all of a file fits: on plain values only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..atlasvid_core.lora_metadata import ROLES, contradictions, from_header
from ..atlasvid_core.plan import VideoPlan

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


def warnings(
    prompt: Mapping[str, Any] | None,
    node_id: str | None,
    header_of: Callable[[str], Mapping[str, str] | None],
    plan: VideoPlan,
    node: str,
) -> list[str]:
    """What the plan asks of LoRAs upstream of `node` that they were not trained for.

    LoRAs that say nothing of AtlasVid in their header (styles, step distillation) pass in silence.
    """
    found = []
    for role in (role for role, name in ROLES.items() if name == node):
        for name in lora_names(prompt, node_id):
            facts = from_header(header_of(name))
            sentences = [] if facts is None else contradictions(facts, plan, role)
            found += [f"{node}: the LoRA {name!r} may not work well: {s}." for s in sentences]
    return found


def check_fit(name: str, shape: Sequence[int], weights: Sequence[Any], node: str) -> None:
    """One LoRA's `weights` (up [out, r], down [r, in ...], alpha, mid, dora, reshape) of `name`."""
    up, down, *others = weights
    if len(shape) < 2 or any(part is not None for part in others[1:]):
        return  # those the host reshapes in ways of its own
    made, whole = (up.shape[0], down[0].numel()), (shape[0], math.prod(shape[1:]))
    if made != whole:
        raise ValueError(
            f"{node}: a LoRA on this MODEL makes {made[0]} x {made[1]} values for {name}, which "
            f"holds {whole[0]} x {whole[1]}. It was trained for another model size: load the LoRA "
            "made for this file (1.3B and 14B LoRAs don't mix), or bypass it."
        )


def _stems(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
