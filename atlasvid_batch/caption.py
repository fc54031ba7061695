"""Words of a contact sheet: a font that has their letters, as much of them as a line holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SIZE_PX = 14
MOST_LETTERS = 200  # more never fit into a line of a cell
NO_LETTER = "\U0010fffd"  # private use: every font shows the box of letters that it lacks
# Files by which systems have letters that Pillow's own font lacks, those of most scripts first.
FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf", "msyh.ttc", "simsun.ttc", "meiryo.ttc", "msgothic.ttc",
    "malgun.ttf",
    "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Medium.ttc", "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf", "segoeui.ttf", "arial.ttf", "Arial.ttf", "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
)  # fmt: skip


def font_for(text: str) -> FreeTypeFont:
    """Pillow's own font, or the one of this machine that lacks the fewest letters of a text."""
    letters = {letter for letter in text[:MOST_LETTERS] if not letter.isspace()}
    best, fewest = None, len(letters) + 1
    for font in _fonts():
        lacks = sum(not _has(font, letter) for letter in letters)
        if lacks < fewest:
            best, fewest = font, lacks
        if not lacks:
            break
    assert best is not None
    return best


def fitted(text: str, font: FreeTypeFont, width_px: int) -> str:
    """As much of a text as is so wide; only its first letters are measured, for speed."""
    text = " ".join(text.split())
    part = text[:MOST_LETTERS]
    if part == text and font.getlength(text) <= width_px:
        return text
    while part and font.getlength(part + "...") > width_px:
        part = part[:-1]
    return part + "..."


def _fonts() -> Iterator[FreeTypeFont]:
    yield _own()
    for name in FONTS:
        font = _system(name)
        if font is not None:
            yield font


@lru_cache
def _own() -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(SIZE_PX)  # type: ignore[return-value, unused-ignore]


@lru_cache
def _system(name: str) -> FreeTypeFont | None:
    """A font by its file's name, in the folders where this system has them."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, SIZE_PX)
    except OSError:
        return None


@lru_cache(4096)
def _has(font: FreeTypeFont, letter: str) -> bool:
    return _drawn(font, letter) != _drawn(font, NO_LETTER)


def _drawn(font: FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
