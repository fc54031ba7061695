"""What a job is, as one short name: two jobs of one name give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

SAMPLES = 256  # values of a weight that tell it from others


def fingerprint(*values: Any) -> str:
    """-> 32 hex digits of tensors (every byte), numbers, texts, and nested lists, maps and frozen
    values of them. Of any other object its type counts, and its `weights` where it has some.
    """
    digest = hashlib.sha256()
    for value in values:
        _add(digest, value)
    return digest.hexdigest()[:32]


def of_weights(named: Mapping[str, Tensor]) -> str:
    """-> a name for a model's weights: of each its name, type, shape and SAMPLES of its values."""
    digest = hashlib.sha256()
    for name in sorted(named):
        weight = named[name]
        _add(digest, (name, str(weight.dtype), list(weight.shape)))
        if not weight.is_meta:
            flat = weight.detach().flatten()
            _add_bytes(digest, flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES])
    return digest.hexdigest()[:32]


def _add(digest, value: Any) -> None:
    digest.update(type(value).__name__.encode() + b"\0")
    if isinstance(value, Tensor):
        _add(digest, (str(value.dtype), list(value.shape)))
        if not value.is_meta:
            _add_bytes(digest, value.detach())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _add(digest, str(key))
            _add(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(str(len(value)).encode())
        for part in value:
            _add(digest, part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _add(digest, getattr(value, field.name))
    elif value is None or isinstance(value, (bool, int, float, str, bytes, torch.dtype)):
        digest.update(repr(value).encode() + b"\0")
    else:
        _add(digest, getattr(value, "weights", None))


def _add_bytes(digest, tensor: Tensor) -> None:
    digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
