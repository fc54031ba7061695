"""The local attention of the detail branch: one signature, several backends, same result."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import dense, flex, windowed

_ATTEND = {"dense": dense.attend, "windowed": windowed.attend, "flex": flex.attend}
BACKENDS = ("auto", *_ATTEND)


def pick(name: str, device: torch.device | str) -> tuple[Callable, str | None]:
    """-> the backend's `attend` for this device, and why when it is not the one asked for.

    `auto` is `flex` on CUDA and `windowed` elsewhere, never `dense`: that one is the oracle of the
    tests and quadratic in tokens. The reason is logged, too, once.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown: choose one of {', '.join(BACKENDS)}.")
    if name == "auto":
        name = "flex" if torch.device(device).type == "cuda" else "windowed"
    reason = flex.unavailable(device) if name == "flex" else None
    if reason is not None:
        flex.warn_once(reason)
        name = "windowed"
    return _ATTEND[name], reason
