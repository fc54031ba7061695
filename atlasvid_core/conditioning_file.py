"""A prompt's conditioning as one safetensors file: every tensor bit for bit, everything beside them
as JSON in the header.

Conditioning is ComfyUI's: a list of pairs of a tensor [B, tokens, C] and a map of extras (pooled
output, attention mask, numbers, texts, nested lists and maps of these).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from .tensor_file import save_whole

FORM = "atlasvid_conditioning"


class NotStorable(TypeError):
    """Conditioning that holds something which no file can hold; the text says where and what."""


def save_conditioning(conditioning: Any, path: Path, text: str) -> None:
    """Written beside and renamed. Raises NotStorable, OSError."""
    tensors: dict[str, Tensor] = {}
    shape = _packed(conditioning, "conditioning", tensors)
    metadata = {FORM: json.dumps(shape), "text": text}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_whole(tensors, path, metadata)


def is_conditioning(path: Path) -> bool:
    """Whether a file is one of these, whole; nothing but its header is read. OSError where that
    can't be read: it says nothing of the file."""
    try:
        with safe_open(path, "pt") as file:
            return FORM in (file.metadata() or {})
    except SafetensorError:
        return False


def load_conditioning(path: Path, device: Any = "cpu") -> tuple[Any, str]:
    """-> conditioning, its text. Raises ValueError naming the file where it is none of these.

    Tensors are copies: of one that is mapped Windows lets nobody delete the file.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if FORM not in metadata:
                raise ValueError("it holds no conditioning")
            found = _unpacked(
                json.loads(metadata[FORM]), lambda name: file.get_tensor(name).clone()
            )
            return found, metadata.get("text", "")
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path.name} can't be read ({error}): delete it.") from None


def _packed(value: Any, where: str, tensors: dict[str, Tensor]) -> list:
    """-> [kind, content]; tensors go into `tensors` under a number of their own."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()  # no two share their memory
        return ["tensor", name]
    if value is None or type(value) in (bool, int, float, str):
        return ["value", value]
    if type(value) in (list, tuple):
        parts = [_packed(part, f"{where}[{i}]", tensors) for i, part in enumerate(value)]
        return [type(value).__name__, parts]
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return ["dict", {k: _packed(v, f"{where}.{k}", tensors) for k, v in value.items()}]
    raise NotStorable(f"{where} is a {type(value).__name__}, which no file can hold")


def _unpacked(packed: list, tensor_of: Any) -> Any:
    kind, content = packed
    if kind == "tensor":
        return tensor_of(content)
    if kind == "dict":
        return {key: _unpacked(part, tensor_of) for key, part in content.items()}
    if kind in ("list", "tuple"):
        parts = [_unpacked(part, tensor_of) for part in content]
        return tuple(parts) if kind == "tuple" else parts
    return content
