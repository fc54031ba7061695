"""What a job is, as one short name: two jobs of one name give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from types import FunctionType, MethodType, NoneType
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = (NoneType, bool, int, float, str, bytes, Enum, torch.dtype, torch.device)
SAMPLES = 256  # values of a weight that tell it from others


def fingerprint(*values: Any) -> str:
    """-> 32 hex digits of tensors (every byte), numbers, texts, and nested lists, maps and frozen
    values of them. Functions count by name, code and what they enclose; modules by their weights;
    any other object by its type, its `weights` and those of its attributes that are plain.
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


def _add(digest, value: Any, within: tuple[int, ...] = ()) -> None:
    """`within`: ids of the objects that `value` was found in; one of them ends the search."""
    digest.update(type(value).__name__.encode() + b"\0")
    if isinstance(value, Tensor):
        _add(digest, (str(value.dtype), list(value.shape)))
        if not value.is_meta:
            _add_bytes(digest, value.detach())
    elif isinstance(value, PLAIN):
        digest.update(repr(value).encode() + b"\0")
    elif id(value) not in within:
        digest.update(b"(")
        for part in _parts(value):
            _add(digest, part, (*within, id(value)))
        digest.update(b")")


def _parts(value: Any) -> Iterable[Any]:
    """What makes a value that is no plain one."""
    if isinstance(value, Mapping):
        return ((str(key), value[key]) for key in sorted(value, key=str))
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, FunctionType):
        code = value.__code__
        constants = [part for part in code.co_consts if isinstance(part, PLAIN)]
        named = (value.__module__, value.__qualname__, code.co_code, constants)
        return (*named, value.__defaults__, list(_enclosed(value)))
    if isinstance(value, MethodType):
        return (value.__func__, value.__self__)
    if isinstance(value, partial):
        return (value.func, value.args, value.keywords)
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, nn.Module):
        return (of_weights({**dict(value.named_parameters()), **dict(value.named_buffers())}),
                _plain_attributes(value))  # fmt: skip
    return (type(value).__qualname__, getattr(value, "weights", None), _plain_attributes(value))


def _enclosed(function: FunctionType) -> Iterable[Any]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing in it yet
            yield cell.cell_contents


def _plain_attributes(value: Any) -> dict[str, Any]:
    return {k: v for k, v in getattr(value, "__dict__", {}).items() if isinstance(v, PLAIN)}


def _add_bytes(digest, tensor: Tensor) -> None:
    digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
