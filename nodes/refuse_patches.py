"""Parts of the network that a node has replaced on the MODEL, and that stage 2 never calls.

The detail branch and the guide take a block to pieces: they call its linear layers, norms and FFN,
where replacements do their work, but neither the block nor its attentions nor the network itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NEVER_CALLED = re.compile(
    r"diffusion_model(\.(_?forward\w*|rope_\w+|unpatchify|head(\.forward)?"
    r"|blocks(\.\d+(\.(self|cross)_attn)?(\.forward)?)?))?"
)


def check_object_patches(patches: Mapping[str, Any], node: str) -> None:
    """`patches`: names of parts of a MODEL -> what stands in their place. ValueError for one that
    would be dropped; a compiled module is the same one, and may be."""
    for name, part in patches.items():
        if NEVER_CALLED.fullmatch(name) and not hasattr(part, "_orig_mod"):
            raise _dropped(name, node)


def check_swapped(network: object, node: str) -> None:
    """The same of a forward that a wrapper has put into the network itself, for the length of a
    step (as TeaCache does it). The host leaves the network's own there after an object patch."""
    for name, part in vars(network).items():
        own = getattr(part, "__func__", None) is getattr(type(network), name, part)
        if re.fullmatch(r"_?forward\w*", name) and callable(part) and not own:
            raise _dropped(f"diffusion_model.{name}", node)


def _dropped(name: str, node: str) -> ValueError:
    return ValueError(
        f"{node}: the MODEL carries a function or module in place of {name} (as NAG, TeaCache, "
        "Enhance-A-Video and other nodes put it there), which AtlasVid's own forward of stage 2 "
        "would silently drop. It takes replaced linear layers, norms and FFNs, and compiled "
        "blocks. Bypass the node that sets it on this MODEL; on the MODEL of "
        "SemanticProxyGenerator it may stay."
    )
