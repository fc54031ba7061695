"""Videos whose frames tell their number: all of a frame has one shade, SHADE more in each next."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from atlasvid_core.video_source import Frame

SHADE = 5
RATE = 8000  # of sounds: samples a second


def write_shades(
    path: Path, times, fps=24, size=(32, 48), codec="ffv1", tone=0, turned=0, pixel_aspect=None,
    gop=None, layout="mono", late_s=0,
):  # fmt: skip
    """`times`: when each frame is shown, in frames; `tone` seconds of sound, which counts its
    samples, from `late_s` on. Sizes are (h, w) as they are coded; `turned`: in quarters."""
    height, width = size
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=fps)
        stream.width, stream.height = width, height
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        if gop:
            stream.codec_context.gop_size = gop
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        sound = file.add_stream("pcm_s16le", rate=RATE, layout=layout) if tone else None
        for number, time in enumerate(times):
            picture = np.full((height, width, 3), SHADE * number % 256, np.uint8)
            picture[: height // 4, : width // 4] = 255  # which way is up
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, fps)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if sound is not None:
            channels = sound.codec_context.layout.nb_channels
            samples = np.arange(round(tone * RATE)).repeat(channels).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
            frame.sample_rate, frame.pts = RATE, round(late_s * RATE)
            frame.time_base = Fraction(1, RATE)
            file.mux(sound.encode(frame))
            file.mux(sound.encode())
    if turned:
        _turn(path, turned)
    return path


def _turn(path: Path, quarters: int) -> None:
    """Have an MP4 shown turned against the clock: the matrix in its track's header."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    a, b = 2**16 * cos, 2**16 * sin
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, -b, 0, b, a, 0, 0, 0, 2**30)
    path.write_bytes(data)


def number_of(picture) -> int:
    """Which frame a picture shows; its lower right corner has the shade."""
    return round(float(picture[-1, -1, 0]) / SHADE)


def numbers(frames) -> list[int]:
    return [number_of(f.pixels() if isinstance(f, Frame) else f) for f in frames]
