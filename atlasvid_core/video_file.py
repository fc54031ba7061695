"""Write frames to a video file as they come: H.264, H.265, AV1, ProRes or FFV1, 8 or 10 bits.

The conversion to luma and chroma is done here, in float: BT.709, limited range, chroma between two
rows and on the left column, as players assume of files with these tags. FFV1 keeps RGB as it is.
A file is written beside its place and renamed when it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .beside import claimed
from .encoder_memory import bounded
from .sound import Sound, Track

BT709_RGB = (0.2126, 0.7152, 0.0722)  # weights of luma; ITU-R BT.709, table 3
BT709, RGB = 1, 0  # matrix, primaries and curve as ITU-T H.273 numbers them
LIMITED, FULL = 1, 2  # as FFmpeg numbers ranges
LEAST_FPS, MOST_FPS = 0.01, 240
BAND_ROWS = 128  # converted at once, as floats; even, since chroma takes rows in pairs


@dataclass(frozen=True)
class Codec:
    """`pixels`: FFmpeg's pixel format for each number of bits a channel."""

    encoder: str
    container: str
    suffix: str
    pixels: Mapping[int, str]
    options: Mapping[str, str]
    rated: bool = True  # takes a constant rate factor
    sound: str = "aac"


CODECS = {
    "h264": Codec(
        "libx264", "mp4", ".mp4", {8: "yuv420p", 10: "yuv420p10le"},
        {"x264-params": "cpu-independent=1"},  # else AVX-512 makes other bytes in every run
    ),
    "h265": Codec(
        "libx265", "mp4", ".mp4", {8: "yuv420p", 10: "yuv420p10le"},
        {"x265-params": "log-level=error"},
    ),
    "av1": Codec(
        "libsvtav1", "mp4", ".mp4", {8: "yuv420p", 10: "yuv420p10le"}, {"preset": "8"}
    ),
    "prores": Codec(
        "prores_ks", "mov", ".mov", {10: "yuv422p10le"}, {"profile": "hq"}, rated=False,
        sound="pcm_s16le",
    ),
    "ffv1": Codec(
        "ffv1", "mp4", ".mp4", {8: "bgr0", 10: "gbrp10le"}, {"level": "3"}, rated=False
    ),
}  # fmt: skip


@dataclass(frozen=True)
class VideoFormat:
    """What is asked for. ValueError where it can't be had, with what can."""

    codec: str = "h264"
    bits: int = 8
    fps: float = 16.0
    crf: int = 18  # constant rate factor: smaller is better and larger; H.264, H.265, AV1

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"Codec {self.codec!r} is not known; choose one of {list(CODECS)}.")
        known = CODECS[self.codec]
        if self.bits not in known.pixels:
            allowed = " or ".join(map(str, known.pixels))
            raise ValueError(
                f"{self.codec} holds {allowed} bits a channel, not {self.bits}. Set bits to "
                f"{allowed}, or choose another codec."
            )
        if not LEAST_FPS <= self.fps <= MOST_FPS:
            raise ValueError(f"fps is {self.fps:g}; it must be {LEAST_FPS} to {MOST_FPS}.")
        if known.encoder not in av.codecs_available:
            here = [n for n, c in CODECS.items() if c.encoder in av.codecs_available]
            raise ValueError(
                f"This installation of PyAV has no encoder for {self.codec} ({known.encoder}); it "
                f"has those for {', '.join(here)}. Choose one of them, or install PyAV's own "
                "wheel: pip install --force-reinstall av."
            )

    @property
    def pixels(self) -> str:
        return CODECS[self.codec].pixels[self.bits]

    @property
    def suffix(self) -> str:
        return CODECS[self.codec].suffix

    @property
    def rate(self) -> Fraction:
        return Fraction(self.fps).limit_denominator(1001)


def write_video(
    path: Path, chunks: Iterable[Tensor], form: VideoFormat, sound: Sound | None = None
) -> None:
    """Chunks [T, H, W, 3] of integers of `form.bits`, encoded as they come; H and W even.

    The `sound` ends with the frames, or before them.
    """
    beside, codec = path.with_name(path.name + ".part"), CODECS[form.codec]
    try:
        with av.open(str(beside), "w", format=codec.container) as file:
            stream, number, track = None, 0, None
            for chunk in chunks:
                for rgb_HW3 in chunk:
                    if stream is None:
                        stream = _stream(file, form, rgb_HW3.shape[1], rgb_HW3.shape[0])
                        track = None if sound is None else Track(file, codec.sound, sound)
                    frame = to_frame(rgb_HW3, form)
                    frame.pts, frame.time_base = number, 1 / form.rate
                    file.mux(stream.encode(frame))
                    number += 1
                    if track is not None:
                        track.until(number / form.rate)
            if stream is None:
                raise ValueError("A video without frames can't be written.")
            file.mux(stream.encode())
            if track is not None:
                track.end()
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def copy_video(
    source: Path,
    target: Path,
    container: str,
    metadata: Mapping[str, str],
    on_part: Callable[[int, int], None] | None = None,
) -> None:
    """The same coded frames, and sound, in another file and container, without decoding them.

    `on_part(done, total)`, in bytes of the source, may raise to cancel.

    Written beside and renamed: `target` is whole or absent. FileExistsError where another process
    takes its name meanwhile.
    """
    options = {"movflags": "use_metadata_tags"}
    with (
        claimed(target) as beside,
        av.open(str(source)) as given,
        av.open(str(beside), "w", format=container, options=options) as file,
    ):
        file.metadata.update({**given.metadata, **metadata})
        inside = [*given.streams.video[:1], *given.streams.audio[:1]]
        streams = {s.index: file.add_stream_from_template(s, opaque=True) for s in inside}
        for packet in given.demux(inside):
            if packet.dts is not None:
                if on_part is not None:
                    on_part(packet.pos or 0, given.size)
                packet.stream = streams[packet.stream.index]
                file.mux(packet)
        if on_part is not None:
            on_part(given.size, given.size)


def _stream(file, form: VideoFormat, width: int, height: int):
    codec = CODECS[form.codec]
    rated = {"crf": str(form.crf)} if codec.rated else {}
    options = {**bounded(codec.encoder, codec.options, width, height), **rated}
    stream = file.add_stream(codec.encoder, rate=form.rate, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, form.pixels
    _tag(stream.codec_context, form)
    if form.codec == "h265":
        stream.codec_context.codec_tag = "hvc1"  # what Apple's players look for
    return stream


def _tag(target, form: VideoFormat) -> None:
    """The same colour tags on a codec and on each of its frames."""
    rgb = not form.pixels.startswith("yuv")
    target.colorspace, target.color_range = (RGB, FULL) if rgb else (BT709, LIMITED)
    target.color_primaries = target.color_trc = BT709


def to_frame(rgb_HW3: Tensor, form: VideoFormat) -> av.VideoFrame:
    """One frame of integers of `form.bits`, in the codec's own pixel format, tagged."""
    height, width = rgb_HW3.shape[:2]
    frame = av.VideoFrame(width, height, form.pixels)
    for plane, values in zip(frame.planes, planes(rgb_HW3, form), strict=True):
        data = values.numpy().view(np.uint8).reshape(values.shape[0], -1)
        rows = np.zeros((values.shape[0], plane.line_size), np.uint8)
        rows[:, : data.shape[1]] = data
        plane.update(rows)
    _tag(frame, form)
    return frame


def planes(rgb_HW3: Tensor, form: VideoFormat) -> list[Tensor]:
    """The planes of the pixel format, as integers."""
    if form.pixels == "bgr0":
        bgr0 = torch.zeros(*rgb_HW3.shape[:2], 4, dtype=rgb_HW3.dtype)
        bgr0[..., :3] = rgb_HW3.flip(-1)
        return [bgr0.flatten(1)]
    if form.pixels == "gbrp10le":
        return [rgb_HW3[..., channel].contiguous() for channel in (1, 2, 0)]
    halve_rows = form.pixels.startswith("yuv420")
    bands = [luma_chroma(band, form.bits, halve_rows) for band in rgb_HW3.split(BAND_ROWS)]
    return [torch.cat(plane) for plane in zip(*bands, strict=True)]


def luma_chroma(rgb_HW3: Tensor, bits: int, halve_rows: bool) -> list[Tensor]:
    """Y [H, W], Cb and Cr [H or H/2, W/2]: BT.709, limited range, `bits` deep."""
    red, green, blue = (rgb_HW3.float() / (2**bits - 1)).unbind(-1)
    k_r, k_g, k_b = BT709_RGB
    luma = k_r * red + k_g * green + k_b * blue
    unit = 2 ** (bits - 8)
    found = [16 * unit + 219 * unit * luma]
    for colour, weight in ((blue, k_b), (red, k_r)):
        difference = (colour - luma) / (2 * (1 - weight))
        found.append(128 * unit + 224 * unit * _halved(difference, halve_rows))
    return [values.round_().to(rgb_HW3.dtype) for values in found]


def _halved(chroma_HW: Tensor, rows: bool) -> Tensor:
    """Every other column, filtered 1-2-1; with `rows`, pairs of rows averaged."""
    edged = F.pad(chroma_HW[None], (1, 0), mode="replicate")[0]
    columns = (edged[:, :-2:2] + 2 * edged[:, 1:-1:2] + edged[:, 2::2]) / 4
    return (columns[::2] + columns[1::2]) / 2 if rows else columns
