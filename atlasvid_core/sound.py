"""A soundtrack for a video that is written frame by frame: as much of it as there are frames.

To and from FFmpeg samples go packed, channel beside channel: of 8 channels that lie in rows of
their own PyAV reads a ninth, which is not there, and the process dies.

Shapes: C channels, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import torch
from torch import Tensor

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}  # channels -> FFmpeg's name
PACKED = "flt"  # FFmpeg's name of floats, channel beside channel


@dataclass(frozen=True, eq=False)
class Sound:
    """Samples [C, S] in -1..1, `rate` of them a second. ValueError for what no file can hold:
    other channels than 1, 2, 6 or 8, no rate, values that are no numbers."""

    samples_CS: Tensor
    rate: int

    def __post_init__(self) -> None:
        if self.samples_CS.dim() != 2 or self.samples_CS.shape[0] not in LAYOUTS:
            raise ValueError(
                f"The sound has the shape {list(self.samples_CS.shape)}; it must have "
                f"{', '.join(map(str, LAYOUTS))} channels, each a row of samples."
            )
        if self.rate < 1:
            raise ValueError(
                f"The sound has {self.rate} samples a second; it must have 1 at least. Set the "
                "sample rate that it was recorded at."
            )
        if not self.samples_CS.isfinite().all():
            raise ValueError(
                "The sound holds values that are no numbers (NaN or infinite). Load it anew, or "
                "disconnect it."
            )

    @property
    def layout(self) -> str:
        return LAYOUTS[self.samples_CS.shape[0]]


def heard(samples: Tensor) -> Tensor:
    """Samples of any source: what is no number there is silence, what is infinite full."""
    return samples.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0)


def packed(samples_CS: Tensor, rate: int, layout: str) -> av.AudioFrame:
    samples_1N = samples_CS.T.float().cpu().reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples_1N.numpy(), PACKED, layout)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    return frame


def unpacked(frame: av.AudioFrame) -> Tensor:
    """-> [C, S] of a frame of PACKED samples."""
    return torch.from_numpy(frame.to_ndarray()).view(frame.samples, -1).T


def rate_in(codec: str, rate: int) -> int:
    """The nearest one that the codec takes and that loses nothing, or the highest."""
    taken = av.codec.Codec(codec, "w").audio_rates
    if not taken:
        return rate
    return min((r for r in taken if r >= rate), default=max(taken))


class Track:
    """The sound in a file that is open for writing, at a rate that its codec takes."""

    def __init__(self, file, codec: str, sound: Sound) -> None:
        self._file, self._sound, self._written = file, sound, 0
        rate = rate_in(codec, sound.rate)  # the encoder resamples
        self._stream = file.add_stream(codec, rate=rate, layout=sound.layout)

    def until(self, seconds: Fraction) -> None:
        """Write what is heard before then and was not written yet."""
        stop = min(-int(-seconds * self._sound.rate // 1), self._sound.samples_CS.shape[1])
        if stop <= self._written:
            return
        part = self._sound.samples_CS[:, self._written : stop]
        frame = packed(part, self._sound.rate, self._sound.layout)
        frame.pts = self._written
        self._file.mux(self._stream.encode(frame))
        self._written = stop

    def end(self) -> None:
        self._file.mux(self._stream.encode(None))
