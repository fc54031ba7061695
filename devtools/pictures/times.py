"""Pictures along time: the stretched proxy of stage 1, and frames that belong together."""

from __future__ import annotations

from atlasvid_core.units import VAE_STRIDE

from .svg import DIM, NEAR, OWN, PLAIN, PROXY, box, line, picture, tag, words


def stretch() -> str:
    """SemanticProxyGenerator: the same 21 latent frames span 5 or 20 seconds."""
    x, w, latents, fps = 40.0, 640.0, 21, 16
    second = w / 20.5
    out = []
    for y, r_t, colour in ((66, 1, PLAIN), (158, 4, PROXY)):
        span = (latents - 1) * VAE_STRIDE.t * r_t / fps
        out.append(words(x, y - 18, f"r_t {r_t}: 81 frames span {span:.0f} s", 14))
        for i in range(latents):
            at = x + second * i * VAE_STRIDE.t * r_t / fps
            out.append(box(at, y, 6, 26, colour, rx=1, stroke=DIM))
    for s in range(0, 21, 5):
        at = x + second * s
        out += [line(at, 202, at, 208), words(at, 222, f"{s} s", 11, DIM, "middle")]
    out.append(line(x, 202, x + second * 20, 202))
    note = ("Latent frame i sits at the temporal coordinate i · r_t. The model makes as many "
            "frames as it always does,\nspread over the whole video.")  # fmt: skip
    return picture(
        720, 280, *out, words(x, 250, note, 12, DIM),
        title="With r_t 4 the same 81 frames span 20 seconds instead of 5",
    )  # fmt: skip


def compare() -> str:
    """CompareVideos: a frame of the detail and its partner, by time."""
    x, step, frames, each = 110.0, 34.0, 17, 4
    out = [words(24, 62, "detail", 14), words(24, 122, "proxy", 14)]
    shown = 6
    for i in range(frames):
        at = x + step * i
        out.append(box(at, 46, step - 4, 24, OWN if i == shown else PLAIN, rx=2))
        out.append(words(at + step / 2 - 2, 62, str(i + 1), 10, DIM if i != shown else "#222",
                         "middle"))  # fmt: skip
        if i % each == 0:
            seen = i // each == shown // each
            out.append(box(at, 106, 4 * step - 4 if i + each <= frames else step - 4, 24,
                           OWN if seen else PROXY, rx=2))  # fmt: skip
            out.append(words(at + 12, 122, str(i // each + 1), 11, "#222", "middle"))
    at = x + step * (shown + 0.5) - 2
    out.append(line(at, 72, at, 104, NEAR, stroke_width=2))
    out.append(tag("circle", cx=at, cy=88, r=3, fill=NEAR))
    note = ("match time: frame 7 of 17 at 16 fps is shown beside frame 2 of 5 at 4 fps, the one of "
            "the same moment.\nmatch ends: first beside first, last beside last, whatever the "
            "frame rates say.")  # fmt: skip
    return picture(
        720, 200, *out, words(24, 164, note, 12, DIM),
        title="Frames of the proxy and of the detail that are shown together",
    )  # fmt: skip
