"""What a job's result looks like: a picture, or a video's first, middle and last frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from PIL import Image

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
GAP_PX = 2  # between two frames


def is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEOS


def seen_file(files: Sequence[Path]) -> Path | None:
    """The largest of a job's files that can be seen; a video rather than a picture."""
    seen = [f for f in files if f.suffix.lower() in VIDEOS + PICTURES and f.is_file()]
    return max(seen, key=lambda f: (is_video(f), f.stat().st_size), default=None)


def shots_of(file: Path, box_px: tuple[int, int]) -> list[Image.Image]:
    """Up to three pictures of a file that fit side by side into `box_px` (width, height)."""
    try:
        return list(_frames(file, box_px)) if is_video(file) else [_still(file, box_px)]
    except Exception:  # whatever a decoder says: a file that can't be shown leaves its cell empty
        return []


def _still(file: Path, box_px: tuple[int, int]) -> Image.Image:
    from PIL import Image

    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    return _scaled(picture, box_px)


def _scaled(picture: Image.Image, box_px: tuple[int, int]) -> Image.Image:
    """As large as fits; small ones pixel by pixel."""
    from PIL import Image

    ratio = min(box_px[0] / picture.width, box_px[1] / picture.height)
    size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    way = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS
    return picture.resize(size, resample=way)


def _frames(file: Path, box_px: tuple[int, int], count: int = 3) -> Iterator[Image.Image]:
    """First, middle and last frame. No frame is decoded twice: PyAV seeks only where a key frame
    lies between the last frame and the next one that is wanted.
    """
    import av

    box = ((box_px[0] - GAP_PX * (count - 1)) // count, box_px[1])
    with av.open(str(file)) as video, av.open(str(file)) as ahead:
        stream = video.streams.video[0]
        stream.thread_type = "AUTO"
        half_s = 0.5 / float(stream.average_rate or 16)
        end_s = float(video.duration or 0) / av.time_base - 2 * half_s
        shot, coming = None, iter(())
        for i in range(count):
            at_s = max(0.0, end_s * i / (count - 1))
            if shot is None or shot.time is None or _key_s(ahead, at_s) > shot.time:
                video.seek(int(at_s * av.time_base))
                shot, coming = None, video.decode(stream)
            while shot is None or shot.time is not None and shot.time < at_s - half_s:
                following = next(coming, None)
                if following is None:
                    break
                shot = following
            if shot is None:
                return
            yield _scaled(shot.to_image(), box)
            if end_s < half_s:  # there is but one
                return


def _key_s(video: InputContainer, at_s: float) -> float:
    """When the key frame is shown from which one gets to a time."""
    import av

    video.seek(int(at_s * av.time_base))
    packet = next(video.demux(video.streams.video[0]))
    return 0.0 if packet.pts is None else float(packet.pts * packet.time_base)
