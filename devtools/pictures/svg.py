"""Just enough SVG: shapes as strings, one palette, one frame around every picture.

A dark card of its own, so that a picture reads the same on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

CARD, EDGE, INK, DIM = "#22252b", "#3a3f48", "#e8eaed", "#a3a9b3"
OWN, NEAR, PROXY, PLAIN = "#f2994a", "#f5d08a", "#5aa9e6", "#3b4150"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif"


def tag(name: str, *inside: str, **attributes: object) -> str:
    """`font_size=12` becomes font-size="12"; floats are rounded to hundredths."""
    words = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_plain(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{words}>{''.join(inside)}</{name}>" if inside else f"<{name}{words}/>"


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def box(x: float, y: float, w: float, h: float, fill: str = "none", **more: object) -> str:
    return tag("rect", x=float(x), y=float(y), width=float(w), height=float(h), fill=fill, **more)


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = DIM, **more: object) -> str:
    ends = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
    return tag("line", **ends, stroke=stroke, **more)


def arrow(x1: float, y1: float, x2: float, y2: float, stroke: str = DIM, **more: object) -> str:
    return line(x1, y1, x2, y2, stroke, stroke_width=2, marker_end="url(#head)", **more)


def path(points: Iterable[tuple[float, float]], fill: str = "none", **more: object) -> str:
    d = " ".join(f"{'ML'[i > 0]}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return tag("path", d=d + (" Z" if fill != "none" else ""), fill=fill, **more)


def words(
    x: float, y: float, text: str, size: int = 14, fill: str = INK, anchor: str = "start",
    **more: object,
) -> str:  # fmt: skip
    """Lines of text; the first one's base line is at y, each next one 1.35 sizes below."""
    return "".join(
        tag(
            "text", escape(each), x=float(x), y=float(y + i * 1.35 * size), font_size=size,
            fill=fill, text_anchor=anchor, **more,
        )
        for i, each in enumerate(text.split("\n"))
    )  # fmt: skip


def picture(width: int, height: int, *shapes: str, title: str) -> str:
    """A whole file. `title` is what those who can't see it are told."""
    head = tag(
        "marker", path([(0, 0), (8, 4), (0, 8)], fill="context-stroke"), id="head",
        viewBox="0 0 8 8", refX=7, refY=4, markerWidth=8, markerHeight=8,
        orient="auto-start-reverse",
    )  # fmt: skip
    body = (
        tag("title", escape(title)), tag("defs", head),
        box(0.5, 0.5, width - 1, height - 1, CARD, rx=10, stroke=EDGE), *shapes,
    )  # fmt: skip
    return tag(
        "svg", *("\n" + shape for shape in body), "\n", xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}", width=width, height=height, font_family=FONT,
    ) + "\n"  # fmt: skip
