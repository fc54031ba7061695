"""The local attention of the detail branch: one signature, several backends, same result."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import dense, windowed

_ATTEND = {"dense": dense.attend, "windowed": windowed.attend}
BACKENDS = ("auto", *_ATTEND)


def pick(name: str, device: torch.device | str) -> tuple[Callable, str | None]:
    """-> the backend's `attend` for this device, and why when it is not the one asked for.

    `auto` is never `dense`: that one is the oracle of the tests and quadratic in tokens.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown: choose one of {', '.join(BACKENDS)}.")
    return _ATTEND["windowed" if name == "auto" else name], None
