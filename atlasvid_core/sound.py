"""A soundtrack for a video that is written frame by frame: as much of it as there are frames.

Shapes: C channels, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from torch import Tensor

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}  # channels -> FFmpeg's name


@dataclass(frozen=True, eq=False)
class Sound:
    """Samples [C, S] in -1..1, `rate` of them a second. ValueError for other channels than 1, 2, 6
    or 8."""

    samples_CS: Tensor
    rate: int

    def __post_init__(self) -> None:
        if self.samples_CS.dim() != 2 or self.samples_CS.shape[0] not in LAYOUTS:
            raise ValueError(
                f"The sound has the shape {list(self.samples_CS.shape)}; it must have "
                f"{', '.join(map(str, LAYOUTS))} channels, each a row of samples."
            )

    @property
    def layout(self) -> str:
        return LAYOUTS[self.samples_CS.shape[0]]


class Track:
    """The sound in a file that is open for writing."""

    def __init__(self, file, codec: str, sound: Sound) -> None:
        self._file, self._sound, self._written = file, sound, 0
        self._stream = file.add_stream(codec, rate=sound.rate, layout=sound.layout)

    def until(self, seconds: Fraction) -> None:
        """Write what is heard before then and was not written yet."""
        stop = min(-int(-seconds * self._sound.rate // 1), self._sound.samples_CS.shape[1])
        if stop <= self._written:
            return
        part = self._sound.samples_CS[:, self._written : stop].float().cpu().contiguous()
        frame = av.AudioFrame.from_ndarray(part.numpy(), "fltp", self._sound.layout)
        frame.sample_rate, frame.pts = self._sound.rate, self._written
        frame.time_base = Fraction(1, self._sound.rate)
        self._file.mux(self._stream.encode(frame))
        self._written = stop

    def end(self) -> None:
        self._file.mux(self._stream.encode(None))
