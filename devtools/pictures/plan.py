"""VideoPlan: a 4K frame in cubes, its proxy beside it at the same scale, and time."""

from __future__ import annotations

from atlasvid_core.plan import make_plan

from .svg import CARD, DIM, NEAR, OWN, PLAIN, PROXY, box, line, picture, words

WIDTH, HEIGHT = 720, 400
TOKEN_PX = 2.0  # of the picture, for 16 pixels of the video


def plan() -> str:
    made = make_plan(width_px=3840, height_px=2160, frames_px=321)
    return picture(
        WIDTH, HEIGHT, *_frame(made), *_proxy(made), *_time(made),
        title="A 4K frame cut into cubes, its proxy at the same scale, and both along time",
    )  # fmt: skip


def _frame(made) -> list[str]:
    x, y = 24, 44
    layout = made.layout
    out = [words(x, 30, f"{made.width_px} × {made.height_px}, cut into "
                 f"{layout.n_cubes.h} × {layout.n_cubes.w} cubes a slice", 14)]  # fmt: skip
    rows, columns = layout.spans(1), layout.spans(2)
    for top, end in rows:
        for left, right in columns:
            whole = end - top == made.cube_tok.h and right - left == made.cube_tok.w
            at = (x + TOKEN_PX * left, y + TOKEN_PX * top)
            size = (TOKEN_PX * (right - left), TOKEN_PX * (end - top))
            out.append(box(*at, *size, PLAIN if whole else NEAR, stroke=CARD))
    left, top = columns[12][0], rows[6][0]
    side = TOKEN_PX * made.cube_tok.w
    out.append(box(x + TOKEN_PX * left, y + TOKEN_PX * top, side, side, OWN))
    below = y + TOKEN_PX * made.target_tok.h + 22
    px = 16 * made.cube_tok.w
    return [
        *out, box(x, below - 11, 12, 12, OWN),
        words(x + 18, below, f"a cube: {made.cube_tok} tokens, {px} × {px} px of "
              f"{4 * made.cube_tok.t} frames", 13),
        box(x + 400, below - 11, 12, 12, NEAR), words(x + 418, below, "smaller at the border", 13),
    ]  # fmt: skip


def _proxy(made) -> list[str]:
    x, y = 540, 44
    w, h = TOKEN_PX * made.proxy_tok.w, TOKEN_PX * made.proxy_tok.h
    size = f"{made.proxy_width_px} × {made.proxy_height_px}"
    return [
        words(x, 30, "its proxy", 14), box(x, y, w, h, PROXY),
        words(x, y + h + 22, f"{size},\nthe same picture", 13),
        words(x, y + h + 76, f"{made.target_tok.count:,} tokens\nagainst\n"
              f"{made.proxy_tok.count:,}", 13, DIM),
    ]  # fmt: skip


def _time(made) -> list[str]:
    x, y, w = 150, 356, 546
    out = [words(24, y + 4, f"{made.frames_px} frames", 13),
           words(24, y + 28, f"{made.proxy_frames_px} of the proxy", 13)]  # fmt: skip
    slices, proxies = made.target_tok.t, made.proxy_tok.t
    for i in range(slices):
        out.append(box(x + w * i / slices, y - 8, w / slices - 1, 14, PLAIN))
    for j in range(proxies):
        at = x + w * j * made.r_t / slices
        out.append(box(at, y + 16, w / slices - 1, 14, PROXY))
        out.append(line(at + 2, y + 8, at + 2, y + 14, PROXY))
    return out
