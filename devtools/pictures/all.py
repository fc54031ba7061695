"""Which picture goes where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .align import align
from .kept import kept
from .overview import overview
from .plan import plan
from .reach import reach
from .starts import starts
from .taken import picks
from .tiles import memory, tiles
from .times import compare, stretch
from .words_known import known

ROOT = Path(__file__).resolve().parent.parent.parent
HELP = "web/docs/pictures"
PICTURES: dict[str, Callable[[], str]] = {
    "docs/overview.svg": overview,
    f"{HELP}/plan.svg": plan,
    f"{HELP}/stretch.svg": stretch,
    f"{HELP}/taken.svg": picks,
    f"{HELP}/align.svg": align,
    f"{HELP}/reach.svg": reach,
    f"{HELP}/starts.svg": starts,
    f"{HELP}/tiles.svg": tiles,
    f"{HELP}/memory.svg": memory,
    f"{HELP}/compare.svg": compare,
    f"{HELP}/words.svg": known,
    f"{HELP}/kept.svg": kept,
}


def drawn() -> dict[str, str]:
    """Path below the root -> the file's text, for every picture that a script draws."""
    return {name: draw() for name, draw in PICTURES.items()}
