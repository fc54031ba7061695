"""The two decoders: what a tile needs of the frame by layer, and the memory that a video takes."""

from __future__ import annotations

import torch

from atlasvid_core.tiles import STRIDE_PX, Span, describe, inputs, spans, upper
from atlasvid_core.wan.vae import WanVAE

from .svg import CARD, DIM, INK, NEAR, OWN, PLAIN, PROXY, box, line, path, picture, words

FRAME, SIDE = (60, 104), 32  # latents: 480p, and a tile of 256 px
UNIT = 4.0


def tiles() -> str:
    """TiledVAEDecode: a tile and its halo, read off the decoder's own layers."""
    with torch.device("meta"):
        layers = describe(upper(WanVAE(dim=8)))
    rows, columns = spans(FRAME[0], SIDE)[0], spans(FRAME[1], SIDE)[1]
    x, y = 24.0, 44.0
    out = [words(x, 30, f"A frame of {FRAME[1] * STRIDE_PX} × {FRAME[0] * STRIDE_PX} px in tiles "
                 f"of {SIDE * STRIDE_PX} px", 14),
           box(x, y, UNIT * FRAME[1], UNIT * FRAME[0], PLAIN)]  # fmt: skip
    own_px = [Span(s.start * STRIDE_PX, s.stop * STRIDE_PX) for s in (rows, columns)]
    needed = [inputs(layers, own, size) for own, size in zip(own_px, FRAME, strict=True)]
    seen = None
    for depth, (down, across) in enumerate(zip(*needed, strict=True)):
        scale = UNIT * FRAME[0] / _height(layers, depth)
        edges = (across.start * scale, down.start * scale, across.size * scale, down.size * scale)
        if edges != seen:
            out.append(box(x + edges[0], y + edges[1], edges[2], edges[3], NEAR,
                           opacity=0.16, stroke=NEAR, stroke_width=0.8))  # fmt: skip
        seen = edges
    out.append(box(x + UNIT * columns.start, y + UNIT * rows.start, UNIT * columns.size,
                   UNIT * rows.size, OWN))  # fmt: skip
    for after in spans(FRAME[1], SIDE)[1:]:
        at = x + UNIT * after.start
        out.append(line(at, y, at, y + UNIT * FRAME[0], CARD, stroke_width=1.5))
    for after in spans(FRAME[0], SIDE)[1:]:
        at = y + UNIT * after.start
        out.append(line(x, at, x + UNIT * FRAME[1], at, CARD, stroke_width=1.5))
    halo = needed[1][0]
    out += _legend(columns.start - halo.start)
    return picture(720, 320, *out, title="A tile, and the surroundings that each layer is given")


def _height(layers, depth: int) -> int:
    height = FRAME[0]
    for layer in layers[:depth]:
        height = height * layer.up // layer.down
    return height


def _legend(halo: int) -> list[str]:
    x = 462
    return [
        box(x, 56, 14, 14, OWN), words(x + 22, 68, "the tile's own pixels", 13),
        box(x, 96, 14, 14, NEAR, opacity=0.5),
        words(x + 22, 108, "what layers below are given:\n"
              f"{halo} latents at the first, less and\nless above, none beyond need", 13),
        words(x, 184, "The middle of the decoder sees the\nwhole frame, and each tile goes on\n"
              "where its past ended: the result is\nthat of decoding everything at once.", 13, DIM),
        words(24, 306, "Any tile gives the same pixels. Smaller ones need less memory and compute "
              "more of the halo twice.", 12, DIM),
    ]  # fmt: skip


def memory() -> str:
    """TiledVAEDecodeToVideo: an IMAGE of a 4K video grows with its length; a file does not."""
    x, y, w, h, most = 70.0, 40.0, 420.0, 210.0, 35.0
    gb_a_frame = 4 * 3 * 3840 * 2160 / 1e9

    def at(frames: float, gb: float) -> tuple[float, float]:
        return x + w * frames / 321, y + h * (1 - gb / most)

    out = [line(x, y, x, y + h), line(x, y + h, x + w, y + h)]
    for gb in (0, 10, 20, 30):
        out.append(words(x - 8, at(0, gb)[1] + 4, f"{gb} GB", 11, DIM, "end"))
    for frames in (81, 161, 321):
        out.append(words(at(frames, 0)[0], y + h + 18, str(frames), 11, DIM, "middle"))
    out += [
        words(x + w / 2, y + h + 36, "frames of 3840 × 2160", 12, DIM, "middle"),
        path([at(0, 0), at(321, 321 * gb_a_frame)], stroke=OWN, stroke_width=3),
        path([at(0, 1), at(321, 1)], stroke=PROXY, stroke_width=3),
        words(508, at(0, 321 * gb_a_frame)[1] + 6, "as an IMAGE in memory:\n"
              f"{321 * gb_a_frame:.0f} GB at 321 frames", 13, INK),
        words(508, at(0, 1)[1] - 14, "to a file: a frame at a time,\nwhatever the length", 13, INK),
    ]  # fmt: skip
    return picture(720, 310, *out, title="Memory of a decoded 4K video against its length")
