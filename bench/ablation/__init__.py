"""The paper's ablations on the tiny world, whose truth is known: `python dev.py ablation`.

Stage 2 at 16 times the tokens a frame and 4 times the time of what the tiny model was trained at.
Every row makes the same scenes from the same noise (`ways`, `making`), what is made is kept and
a run that was stopped goes on (`keeping`), judges look at each video (`judging`), and means with
their intervals make the table (`table`) and its picture (`picture`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .keeping import Keep, complete
from .kit import LORAS, Kit, Setting
from .table import figures, table
from .ways import ROWS

__all__ = ["figures", "rows"]

CELLS = 24


def rows(quick: bool = False) -> list[dict]:
    """The table, made from nothing in a folder that is thrown away; `quick`: two small cells."""
    setting = Setting.small() if quick else Setting()
    kit = Kit(LORAS, setting)
    with tempfile.TemporaryDirectory() as folder:
        cells = complete(Keep(Path(folder), kit), ROWS, range(2 if quick else CELLS))
    return table(ROWS, cells, kit)
