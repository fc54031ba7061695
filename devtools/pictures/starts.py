"""DetailJointSampler: noise levels over the steps, from pure noise and from the enlarged proxy."""

from __future__ import annotations

from atlasvid_core.flow import sigmas

from .svg import DIM, OWN, PROXY, line, path, picture, tag, words

WIDTH, HEIGHT = 720, 340
X, Y, W, H = 64.0, 40.0, 400.0, 220.0
STEPS, SHIFT, DENOISE = 30, 8.0, 0.6


def starts() -> str:
    rows = [
        line(X, Y, X, Y + H), line(X, Y + H, X + W, Y + H),
        words(X - 8, Y + 5, "noise", 12, DIM, "end"), words(X - 8, Y + H, "video", 12, DIM, "end"),
        words(X + W / 2, Y + H + 22, f"{STEPS} steps", 12, DIM, "middle"),
        *_curve(1.0, OWN), *_curve(DENOISE, PROXY),
        *_legend(84, OWN, "start: noise", "for trained LoRAs; everything is\nmade anew, the guide "
                 "says what"),
        *_legend(184, PROXY, f"start: proxy, denoise {DENOISE:g}", "without LoRAs; begins at the\n"
                 "enlarged proxy, noised to there.\nLower keeps more of it"),
        words(24, HEIGHT - 32, f"shift {SHIFT:g} spends most steps at high noise. Every finished "
              "step is kept:\na job that was killed goes on from the last one.", 12, DIM),
    ]  # fmt: skip
    return picture(WIDTH, HEIGHT, *rows, title="Noise level over the steps for both starts")


def _curve(denoise: float, colour: str) -> list[str]:
    points = [
        (X + W * i / STEPS, Y + H * (1 - s))
        for i, s in enumerate(sigmas(STEPS, SHIFT, denoise).tolist())
    ]
    dots = [tag("circle", cx=float(x), cy=float(y), r=2.5, fill=colour) for x, y in points]
    return [path(points, stroke=colour, stroke_width=1.5), *dots]


def _legend(y: float, colour: str, title: str, note: str) -> list[str]:
    return [
        tag("circle", cx=496, cy=y - 5, r=5, fill=colour),
        words(510, y, title, 14, font_weight=600), words(510, y + 20, note, 12, DIM),
    ]  # fmt: skip
