"""CachedTextEncode: what is loaded for a prompt that is new, and for one that is kept."""

from __future__ import annotations

from .svg import CARD, DIM, EDGE, NEAR, OWN, PROXY, arrow, box, picture, words

WIDTH, HEIGHT = 720, 250


def kept() -> str:
    rows = [
        *_block(24, 88, 128, "prompt", "and what the\nencoder is made of", DIM),
        arrow(152, 122, 196, 122),
        *_block(204, 88, 128, "kept?", "looked up by\na hash of both", NEAR),
        arrow(332, 106, 380, 64, OWN), words(342, 76, "new", 12, OWN, "end"),
        arrow(332, 138, 380, 184, PROXY), words(342, 176, "known", 12, PROXY, "end"),
        *_block(388, 26, 164, "Load CLIP, encode", "11 GB, once", OWN),
        *_block(388, 164, 164, "read the file", "8 MB at most", PROXY),
        arrow(470, 84, 470, 158, OWN), words(480, 126, "keep", 12, OWN),
        arrow(552, 60, 604, 104), arrow(552, 188, 604, 144),
        words(612, 118, "conditioning", 14), words(612, 137, "the same bits", 12, DIM),
    ]  # fmt: skip
    title = "A new prompt is encoded and kept; a known one is read without loading the encoder"
    return picture(WIDTH, HEIGHT, *rows, title=title)


def _block(x: float, y: float, w: float, title: str, note: str, colour: str) -> list[str]:
    return [
        box(x, y, w, 58 + 10 * note.count("\n"), CARD, rx=6, stroke=colour or EDGE),
        words(x + w / 2, y + 22, title, 14, anchor="middle", font_weight=600),
        words(x + w / 2, y + 42, note, 12, DIM, "middle"),
    ]
