"""ComfyUI's internals that encoding text needs: encoders, model files, the output folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import comfy.model_management as management
import folder_paths
import nodes as host_nodes
import torch

ALWAYS = ("IS_CHANGED", "fingerprint_inputs")


def conditioning_folder() -> Path:
    return Path(folder_paths.get_output_directory()) / "atlasvid" / "conditioning"


def conditioning_device() -> torch.device:
    """Where the host keeps conditioning between nodes."""
    return management.intermediate_device()


def encoder_settings() -> list[str]:
    """What of the host's own settings changes an encoder's result."""
    return [str(management.text_encoder_dtype()), management.text_encoder_device().type]


def model_files(name: str) -> dict[str, list[Path]]:
    """The files that a loader's widget may name: kind of model -> those of this name, in the order
    in which a loader of that kind looks for them. Which kind a loader loads it doesn't tell.
    """
    if not Path(name).suffix:
        return {}
    if os.path.isabs(name):
        return {"": [Path(name)]} if os.path.isfile(name) else {}
    inside = os.path.relpath(os.path.join("/", name), "/")
    found: dict[str, list[Path]] = {}
    for kind, entry in list(folder_paths.folder_names_and_paths.items()):  # packs add longer ones
        paths = [os.path.join(folder, inside) for folder in entry[0] if kind != "custom_nodes"]
        if any(map(os.path.isfile, paths)):
            found[kind] = [Path(path) for path in paths if os.path.isfile(path)]
    return found


def reads_embedding(text: str) -> bool:
    """Whether the host's tokenizers may read a textual inversion's file for a prompt. Which, they
    don't tell: with two of one name in different subfolders it is another in each process.
    """
    return "embedding:" in text


def changes_by_itself(kind: str) -> bool:
    """Whether a kind of node says that its result depends on more than its inputs."""
    node: Any = host_nodes.NODE_CLASS_MAPPINGS.get(kind)
    if node is None:
        return True
    owners = [c for c in node.__mro__ if not c.__module__.startswith("comfy_api")]
    return any(name in vars(owner) for owner in owners for name in ALWAYS)


def encode(clip: Any, text: str) -> Any:
    """Conditioning, as CLIP Text Encode makes it. Raises ValueError without an encoder."""
    if clip is None:
        raise ValueError(
            "CachedTextEncode got no text encoder: the node before it gave none. Load "
            "umt5_xxl_fp8_e4m3fn_scaled.safetensors with the Load CLIP node, type wan."
        )
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))
