"""What a job is, as one short name: two jobs of one name give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (NoneType, bool, int, float, complex, str, bytes, Enum, torch.dtype, torch.device)
SAMPLES = 256  # values of a weight that tell it from others
MOST_OBJECTS = 200_000  # in what a job is made from, 4,000 a LoRA; more is a whole program
STANDING = ("_current_", "_curr_")  # attributes of hooks that say how far a run has come


class Unnamed(ValueError):
    """What can't be told from others by a name."""


def fingerprint(*values: Any) -> str:
    """-> 32 hex digits of tensors (every byte), numbers, texts, and nested lists, maps and objects
    of them. Functions count by name, code and what they enclose; MODELs by weights, patches and
    options; modules by their weights, compiled ones by the names of these; any other object by its
    type and all its attributes.

    Unnamed: they lead to more than MOST_OBJECTS others.
    """
    try:
        return _Names().of(values).hex()[:32]
    except RecursionError:
        raise Unnamed("objects within objects without an end") from None


def of_weights(named: Mapping[str, Tensor]) -> str:
    """-> a name for a model's weights: of each its name, type, shape and SAMPLES of its values."""
    digest = hashlib.sha256()
    for name in sorted(named):
        weight = named[name]
        digest.update(repr((name, str(weight.dtype), list(weight.shape))).encode())
        if not weight.is_meta:
            flat = weight.detach().flatten()
            digest.update(_bytes(flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES]))
    return digest.hexdigest()[:32]


class _Names:
    """Digests of values, each object's made once. Objects stay alive meanwhile, so that no other
    one takes an id."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, bytes]] = {}

    def of(self, value: Any) -> bytes:
        if isinstance(value, Tensor):
            told = [str(value.dtype), list(value.shape)]
            return _digest("tensor", repr(told).encode(), b"" if value.is_meta else _bytes(value))
        if isinstance(value, PLAIN):
            return _digest(type(value).__name__, repr(value).encode())
        if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            return _digest("array", repr((value.dtype, value.shape)).encode(), value.tobytes())
        if id(value) not in self.known:
            if len(self.known) >= MOST_OBJECTS:
                raise Unnamed(f"more than {MOST_OBJECTS:,} objects, the last a {type(value)}")
            self.known[id(value)] = value, b"within itself"
            parts = [self.of(part) for part in _parts(value)]
            self.known[id(value)] = value, _digest(type(value).__qualname__, *parts)
        return self.known[id(value)][1]


def _digest(kind: str, *parts: bytes) -> bytes:
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes()


def _parts(value: Any) -> Iterable[Any]:
    """What makes a value that is no plain one."""
    if isinstance(value, Mapping):
        return [part for key in sorted(value, key=str) for part in (str(key), value[key])]
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, FunctionType):
        code = value.__code__
        constants = [part for part in code.co_consts if isinstance(part, PLAIN)]
        named = (value.__module__, value.__qualname__, code.co_code, constants)
        return (*named, value.__defaults__, value.__kwdefaults__, list(_enclosed(value)))
    if isinstance(value, MethodType):
        return (value.__func__, value.__self__)
    if isinstance(value, partial):
        return (value.func, value.args, value.keywords)
    if isinstance(value, (type, ModuleType, BuiltinFunctionType)):
        return (getattr(value, "__module__", None), getattr(value, "__qualname__", value.__name__))
    if isinstance(value, nn.Module) and hasattr(value, "_orig_mod"):
        # Compiled: a part of a MODEL, whose own weights count there, without the LoRAs that may be
        # worked in now. It also has a number of its own in each process.
        return sorted(name for name, _ in value.named_parameters())
    if isinstance(value, nn.Module):
        return (of_weights({**dict(value.named_parameters()), **dict(value.named_buffers())}),
                {k: v for k, v in vars(value).items() if isinstance(v, PLAIN)})  # fmt: skip
    if hasattr(value, "backup") and hasattr(value, "model_options"):
        return model_parts(value)
    return (_attributes(value),)


def model_parts(model: Any) -> Iterable[Any]:
    """Of a MODEL: its weights as they were loaded, what was put on them, its options."""
    weights = dict(model.model.named_parameters())
    for name, saved in model.backup.items():  # where LoRAs are worked in now
        if name in weights:
            weights[name] = saved.weight
    return (of_weights(weights), model.patches, model.object_patches, model.model_options)


def _enclosed(function: FunctionType) -> Iterable[Any]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing in it yet
            yield cell.cell_contents


def _attributes(value: Any) -> dict[str, Any]:
    slots = [
        name for kind in type(value).__mro__ for name in _listed(kind.__dict__.get("__slots__"))
    ]
    held = {name: getattr(value, name, None) for name in slots if name != "__weakref__"}
    held |= getattr(value, "__dict__", {})
    return {k: v for k, v in held.items() if not k.startswith(STANDING)}


def _listed(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots or ()
