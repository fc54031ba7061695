"""TinyPrompt: every word of the tiny world, drawn."""

from __future__ import annotations

from atlasvid_core.tiny.scenery import COLOURS, DIRECTIONS, SCHEMES, SHAPES

from .svg import DIM, INK, arrow, box, path, picture, tag, words

WIDTH, HEIGHT = 720, 250


def known() -> str:
    rows = [*_colours(44), *_shapes(96), *_directions(150), *_skies(196)]
    return picture(WIDTH, HEIGHT, *rows, title="The colours, shapes, directions and skies")


def _name(y: float, text: str) -> str:
    return words(24, y, text, 14, DIM)


def _hex(colour: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _colours(y: float) -> list[str]:
    out = [_name(y, "colour")]
    for i, (name, colour) in enumerate(COLOURS.items()):
        x = 120 + 74 * i
        out.append(tag("circle", cx=x + 8, cy=y - 5, r=8, fill=_hex(colour)))
        out.append(words(x + 20, y, name, 12))
    return out


def _shapes(y: float) -> list[str]:
    out = [_name(y, "shape")]
    drawn = {
        "ball": lambda x: tag("circle", cx=x + 12, cy=y - 5, r=12, fill=INK),
        "box": lambda x: box(x - 4, y - 14, 32, 18, INK),
        "diamond": lambda x: path(
            [(x + 12, y - 22), (x + 22, y - 5), (x + 12, y + 12), (x + 2, y - 5)], INK
        ),
    }
    for i, name in enumerate(SHAPES):
        x = 124 + 150 * i
        out += [drawn[name](x), words(x + 36, y, name, 13)]
    return out


def _directions(y: float) -> list[str]:
    out = [_name(y, "direction")]
    for i, name in enumerate(DIRECTIONS):
        x = 124 + 150 * i
        ends = (x, x + 26) if name == "right" else (x + 26, x)
        out += [arrow(ends[0], y - 5, ends[1], y - 5, INK), words(x + 36, y, name, 13)]
    return out


def _skies(y: float) -> list[str]:
    out = [_name(y + 4, "sky")]
    for i, (name, (top, horizon, far, close)) in enumerate(SCHEMES.items()):
        x = 120 + 150 * i
        for j, colour in enumerate((top, horizon, far, close)):
            out.append(box(x, y - 16 + 9 * j, 64, 9, _hex(colour)))
        out.append(words(x + 74, y + 6, name, 13))
    return out
