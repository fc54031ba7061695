"""Contact sheets of a batch: a cell for each job, first, middle and last frame, its own words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .board import Standing

if TYPE_CHECKING:
    from PIL import Image

CELL_PX, CAPTION_PX, GAP_PX = (480, 160), 44, 12
COLUMNS, ROWS = 4, 10
MOST_LETTERS = 200  # more never fit into a line of a cell
VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
PAPER, INK, FAINT, RED = (24, 24, 27), (228, 228, 231), (150, 150, 158), (248, 113, 113)


def write_sheets(jobs: Sequence[Standing], folder: Path, say: Callable[[str], None]) -> list[Path]:
    """contact_sheet_01.jpg ... below `folder`, in the table's order. None without Pillow, PyAV."""
    try:
        from PIL import Image  # noqa: F401
    except ImportError:
        say("no contact sheet: it needs Pillow and PyAV; run this with ComfyUI's own Python")
        return []
    ordered = sorted(jobs, key=lambda s: s.job.row.number)
    size = COLUMNS * ROWS
    written = []
    for number, begin in enumerate(range(0, len(ordered), size), 1):
        page = _page(ordered[begin : begin + size], folder)
        target = folder / f"contact_sheet_{number:02}.jpg"
        part = target.with_suffix(".part")
        page.save(part, "JPEG", quality=90)
        part.replace(target)
        written.append(target)
    return written


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
    from PIL import Image, ImageDraw, ImageFont

    cell = Image.new("RGB", (CELL_PX[0], CELL_PX[1] + CAPTION_PX), PAPER)
    draw = ImageDraw.Draw(cell)
    shots = _shots(standing, folder)
    width = min(sum(s.width for s in shots) + 2 * (len(shots) - 1), CELL_PX[0]) if shots else 0
    at = (CELL_PX[0] - width) // 2
    for shot in shots:
        cell.paste(shot, (at, (CELL_PX[1] - shot.height) // 2))
        at += shot.width + 2
    if not shots:
        draw.rectangle((0, 0, CELL_PX[0] - 1, CELL_PX[1] - 1), outline=FAINT)
    font = ImageFont.load_default(14)
    failed = standing.state == "failed"
    words = standing.error if failed else _words(standing)
    lines = (("FAILED " if failed else "") + standing.job.name, RED if failed else INK), (
        words, FAINT
    )  # fmt: skip
    for i, (text, colour) in enumerate(lines):
        draw.text((2, CELL_PX[1] + 4 + 19 * i), _fit(text, draw, font), colour, font)
    return cell


def _words(standing: Standing) -> str:
    """The row's own values, its longest first, without its column's name where it is a prompt."""
    values = {k: str(v) for k, v in standing.job.row.values.items() if k not in ("id", "priority")}
    ordered = sorted(values.items(), key=lambda kv: -len(kv[1]))
    return ", ".join(v if i == 0 and " " in v else f"{k} {v}" for i, (k, v) in enumerate(ordered))


def _fit(text: str, draw, font) -> str:
    """As much of a text as a cell is wide; only its first letters are measured, for speed."""
    text = " ".join(text.split())
    part = text[:MOST_LETTERS]
    if part == text and draw.textlength(text, font) <= CELL_PX[0] - 4:
        return text
    while part and draw.textlength(part + "...", font) > CELL_PX[0] - 4:
        part = part[:-1]
    return part + "..."


def _shots(standing: Standing, folder: Path) -> list[Image.Image]:
    """Up to three pictures of a job's largest file that can be seen."""
    files = [folder / name for name in standing.files]
    seen = [f for f in files if f.suffix.lower() in VIDEOS + PICTURES and f.is_file()]
    if not seen:
        return []
    file = max(seen, key=lambda f: (f.suffix.lower() in VIDEOS, f.stat().st_size))
    try:
        if file.suffix.lower() in PICTURES:
            return [_still(file)]
        return list(_frames(file))
    except Exception:  # whatever a decoder says: a file that can't be shown leaves its cell empty
        return []


def _still(file: Path) -> Image.Image:
    from PIL import Image

    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    return _scaled(picture, CELL_PX)


def _scaled(picture: Image.Image, box_px: tuple[int, int]) -> Image.Image:
    """As large as fits; small ones pixel by pixel."""
    from PIL import Image

    ratio = min(box_px[0] / picture.width, box_px[1] / picture.height)
    size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    way = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS
    return picture.resize(size, resample=way)


def _frames(file: Path, count: int = 3) -> Iterator[Image.Image]:
    """First, middle and last frame; PyAV seeks to the key frame before each."""
    import av

    box = ((CELL_PX[0] - 2 * (count - 1)) // count, CELL_PX[1])
    with av.open(str(file)) as video:
        stream = video.streams.video[0]
        rate = float(stream.average_rate or 16)
        end_s = float(video.duration or 0) / av.time_base - 1.5 / rate
        for i in range(count):
            at_s = max(0.0, end_s * i / (count - 1))
            video.seek(int(at_s * av.time_base))
            shot = None
            for shot in video.decode(stream):
                if shot.time is None or shot.time >= at_s - 0.5 / rate:
                    break
            if shot is None:
                return
            yield _scaled(shot.to_image(), box)
            if end_s <= 0:
                return
