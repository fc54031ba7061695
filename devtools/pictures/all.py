"""Which picture goes where."""

from __future__ import annotations

from pathlib import Path

from .overview import overview

ROOT = Path(__file__).resolve().parent.parent.parent


def drawn() -> dict[str, str]:
    """Path below the root -> the file's text, for every picture that a script draws."""
    return {"docs/overview.svg": overview()}
