"""Contact sheets of a batch: a cell for each job, first, middle and last frame, its own words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .board import Standing
from .caption import fitted, font_for
from .shots import GAP_PX as SHOT_GAP_PX
from .shots import is_video, seen_file, shots_of

if TYPE_CHECKING:
    from PIL import Image

CELL_PX, CAPTION_PX, LINE_PX, GAP_PX = (480, 160), 44, 19, 12
COLUMNS, ROWS = 4, 10
PAPER, INK, FAINT, RED = (24, 24, 27), (228, 228, 231), (150, 150, 158), (248, 113, 113)


def write_sheets(jobs: Sequence[Standing], folder: Path, say: Callable[[str], None]) -> list[Path]:
    """contact_sheet_01.jpg ... below `folder`, in the table's order; one that shows all this is
    left as it is. None where something is `lacking`, which is told.
    """
    what = lacking(jobs)
    if what:
        say(f"no contact sheet: it needs {what}; run this with ComfyUI's own Python")
        return []
    ordered = sorted(jobs, key=lambda s: s.job.row.number)
    size, told = COLUMNS * ROWS, False
    written = []
    for number, begin in enumerate(range(0, len(ordered), size), 1):
        shown = ordered[begin : begin + size]
        target, mark = folder / f"contact_sheet_{number:02}.jpg", _mark(shown, folder)
        if _mark_of(target) != mark:
            if not told:
                say("making contact sheets; the batch is over, Ctrl-C leaves out what is missing")
                told = True
            part = target.with_suffix(".part")
            _page(shown, folder).save(part, "JPEG", quality=90, comment=mark)
            part.replace(target)
        written.append(target)
    return written


def lacking(jobs: Sequence[Standing]) -> str | None:
    """What sheets of these jobs need and this Python has not."""
    try:
        import PIL
        from PIL import ImageFont
    except ImportError:
        return "Pillow and PyAV"
    try:
        ImageFont.load_default(14)
    except (TypeError, ImportError):
        return f"Pillow 10.1 or later, with FreeType (this one is {PIL.__version__})"
    if any(is_video(Path(name)) for standing in jobs for name in standing.files):
        try:
            import av  # noqa: F401
        except ImportError:
            return "PyAV"
    return None


def _mark(jobs: Sequence[Standing], folder: Path) -> bytes:
    """A hash of all that a sheet shows, which goes into its file."""
    shown: list = []
    for standing in jobs:
        file = _file(standing, folder)
        stat = file.stat() if file else None
        shown.append([str(file), stat and [stat.st_size, stat.st_mtime_ns]])
        shown += [[text, font_for(text).getname()] for text in _lines(standing)]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest().encode()


def _mark_of(sheet: Path) -> bytes | None:
    from PIL import Image

    try:
        with Image.open(sheet) as opened:
            return opened.info.get("comment")
    except OSError:  # none there, or none that can be read
        return None


def _page(jobs: Sequence[Standing], folder: Path) -> Image.Image:
    from PIL import Image

    columns, rows = min(COLUMNS, len(jobs)), -(-len(jobs) // COLUMNS)
    step = (CELL_PX[0] + GAP_PX, CELL_PX[1] + CAPTION_PX + GAP_PX)
    page = Image.new("RGB", (columns * step[0] + GAP_PX, rows * step[1] + GAP_PX), PAPER)
    for place, standing in enumerate(jobs):
        at = (place % COLUMNS * step[0] + GAP_PX, place // COLUMNS * step[1] + GAP_PX)
        page.paste(_cell(standing, folder), at)
    return page


def _cell(standing: Standing, folder: Path) -> Image.Image:
    from PIL import Image, ImageDraw

    cell = Image.new("RGB", (CELL_PX[0], CELL_PX[1] + CAPTION_PX), PAPER)
    draw = ImageDraw.Draw(cell)
    file = _file(standing, folder)
    shots = shots_of(file, CELL_PX) if file else []
    gaps_px = SHOT_GAP_PX * (len(shots) - 1)
    at = (CELL_PX[0] - min(sum(s.width for s in shots) + gaps_px, CELL_PX[0])) // 2
    for shot in shots:
        cell.paste(shot, (at, (CELL_PX[1] - shot.height) // 2))
        at += shot.width + SHOT_GAP_PX
    if not shots:
        draw.rectangle((0, 0, CELL_PX[0] - 1, CELL_PX[1] - 1), outline=FAINT)
    colours = (RED if standing.state == "failed" else INK, FAINT)
    for i, (text, colour) in enumerate(zip(_lines(standing), colours, strict=True)):
        font = font_for(text)
        words = fitted(text, font, CELL_PX[0] - 4)
        draw.text((2, CELL_PX[1] + 4 + LINE_PX * i), words, colour, font)
    return cell


def _file(standing: Standing, folder: Path) -> Path | None:
    return seen_file([folder / name for name in standing.files])


def _lines(standing: Standing) -> tuple[str, str]:
    """The two lines below a job's pictures."""
    if standing.state == "failed":
        return f"FAILED {standing.job.name}", standing.error
    return standing.job.name, _words(standing)


def _words(standing: Standing) -> str:
    """The row's own values, its longest first, without its column's name where it is a prompt."""
    values = {k: str(v) for k, v in standing.job.row.values.items() if k not in ("id", "priority")}
    ordered = sorted(values.items(), key=lambda kv: -len(kv[1]))
    prompt = ordered and (" " in ordered[0][1] or not ordered[0][1].isascii())
    return ", ".join(v if i == 0 and prompt else f"{k} {v}" for i, (k, v) in enumerate(ordered))
