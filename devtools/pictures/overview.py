"""README's one picture: words, a small proxy of the whole video, its guide, the large video."""

from __future__ import annotations

from atlasvid_core.plan import VideoPlan, make_plan

from .scene import landscape
from .svg import DIM, INK, NEAR, OWN, PROXY, arrow, box, line, picture, words

WIDTH, HEIGHT = 1200, 470
SMALL = (96, 54)
LARGE = (448, 252)
LEFT, TOP = 580, 112  # of the large video
CUBE_PX = 28
AT = (4, 4)  # the cube that looks around, in cubes


def overview() -> str:
    plan = make_plan(width_px=3840, height_px=2160, frames_px=321)
    return picture(
        WIDTH, HEIGHT, *_words(), *_proxy(plan), *_detail(plan), *_guide(), *_file(), _ratio(plan),
        title="A small proxy of the whole video guides local attention at full size",
    )  # fmt: skip


def _heading(x: float, step: str, node: str) -> str:
    return words(x, 44, step, 17, font_weight=600) + words(x, 66, node, 13, DIM)


def _words() -> list[str]:
    quote = "“mist lifts off\nthe water, first\nsun on the\npeaks, slow\nforward camera”"
    return [
        _heading(28, "Your words", "and VideoPlan"),
        box(28, 96, 132, 112, "#2d313a", rx=6),
        words(40, 122, quote, 13, INK, font_style="italic"),
        arrow(166, 152, 196, 152),
    ]


def _proxy(plan: VideoPlan) -> list[str]:
    x, shapes = 212, [_heading(212, "1  The proxy", "SemanticProxyGenerator")]
    for i in range(4):
        top = 96 + 64 * i
        shapes += [landscape(x, top, *SMALL, when=i / 3, steps=9),
                   box(x, top, *SMALL, stroke=PROXY, stroke_width=1.5)]  # fmt: skip
        shapes.append(words(x + SMALL[0] + 10, top + 32, f"{i * 20 / 3:.0f} s", 12, DIM))
    size = f"{plan.proxy_width_px} × {plan.proxy_height_px}, {plan.proxy_frames_px} frames"
    note = f"the whole 20 s, small:\n{size},\ntime stretched {plan.r_t:g} ×"
    return [*shapes, words(x, 376, note, 13)]


def _guide() -> list[str]:
    x, seen = 396, {(1, 2), (2, 2), (1, 3), (2, 3)}
    grid = [
        box(x + 18 * i, 150 + 18 * j, 14, 14, OWN if (i, j) in seen else PROXY,
            opacity=1.0 if (i, j) in seen else 0.35 + 0.1 * ((3 * i + 5 * j) % 6))
        for i in range(6)
        for j in range(6)
    ]  # fmt: skip
    to_x, to_y = LEFT + (AT[0] - 1) * CUBE_PX - 3, TOP + (AT[1] + 0.5) * CUBE_PX
    return [
        _heading(x, "2  The guide", "ScaledRoPEAligner"),
        arrow(360, 202, 388, 202), *grid,
        arrow(x + 50, 212, to_x, to_y, OWN, stroke_dasharray="5 4"),
        words(x, 288, "keys and values of\nevery layer, each at\nthe place and time\n"
              "that it shows; read\nonce, used in\nevery step", 13),
    ]  # fmt: skip


def _detail(plan: VideoPlan) -> list[str]:
    (w, h), x, y = LARGE, LEFT, TOP
    shapes = [_heading(x, "3  The detail", "LocalityPreservingPatch, DetailJointSampler")]
    for back in (2, 1):  # frames before this one
        shapes.append(box(x + 9 * back, y - 9 * back, w, h, "#30353f", stroke="#555b66"))
    shapes.append(landscape(x, y, w, h, when=0.62, steps=220))
    for i in range(1, w // CUBE_PX):
        shapes.append(line(x + i * CUBE_PX, y, x + i * CUBE_PX, y + h, "#fff", opacity=0.22))
    for j in range(1, h // CUBE_PX):
        shapes.append(line(x, y + j * CUBE_PX, x + w, y + j * CUBE_PX, "#fff", opacity=0.22))
    at_x, at_y = x + AT[0] * CUBE_PX, y + AT[1] * CUBE_PX
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        shapes.append(box(at_x + dx * CUBE_PX, at_y + dy * CUBE_PX, CUBE_PX, CUBE_PX,
                          NEAR, opacity=0.75))  # fmt: skip
    shapes.append(box(at_x, at_y, CUBE_PX, CUBE_PX, OWN, stroke="#fff", stroke_width=1.5))
    size = f"{plan.width_px} × {plan.height_px}, {plan.frames_px} frames in one shot"
    note = f"{size}: each cube sees its\nneighbours and the proxy tokens of its own place and time"
    shapes.append(words(x, y + h + 30, note, 13))
    return shapes


def _file() -> list[str]:
    x = 1064
    return [
        arrow(1036, 238, x, 238), box(x + 8, 196, 96, 84, "#2d313a", rx=6),
        words(x + 56, 232, "video.mp4", 14, anchor="middle", font_weight=600),
        words(x + 56, 254, "4K, 20 s", 13, DIM, "middle"),
        words(x + 56, 312, "TiledVAEDecode-\nToVideo", 12, DIM, "middle"),
    ]  # fmt: skip


def _ratio(plan: VideoPlan) -> str:
    text = (
        f"{plan.target_tok.count:,} tokens, {plan.attention_ratio():,.0f} times fewer attention "
        "FLOPs than full attention: cost grows with the video, not with its square"
    )
    return words(WIDTH / 2, HEIGHT - 18, text, 14, DIM, "middle")
