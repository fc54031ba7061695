"""The VIDEO that TiledVAEDecodeToVideo gives: a file, saved whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from comfy_api.latest import InputImpl

from ..atlasvid_core.beside import claimed
from ..atlasvid_core.video_file import CODECS, copy_video
from .host_progress import phase


class FinishedVideo(InputImpl.VideoFromFile):
    """A video file of one of CODECS. Where nothing is to be changed its coded frames are copied.

    ProRes: SaveVideo names its files .mp4, but FFmpeg writes no ProRes into MP4; it gets
    QuickTime's container, MP4's parent, which players tell by content.
    """

    def __init__(self, file: str, codec: str, on_saved: Callable[[Path], None]) -> None:
        super().__init__(file)
        self._codec, self._on_saved = codec, on_saved

    def save_to(self, path, format="auto", codec="auto", metadata=None, **options) -> None:
        """As the host's, but beside and then renamed; then calls `on_saved(path)`.

        `options` are those of newer hosts; None in one says that nothing is asked.
        """
        if not isinstance(path, (str, os.PathLike)):  # into memory
            super().save_to(path, format=format, codec=codec, metadata=metadata, **options)
            return
        target, asked = Path(path), [v for v in options.values() if v is not None]
        if codec in ("auto", self._codec) and format in ("auto", "mp4") and not asked:
            tags = {
                k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()
            }
            source, container = Path(self.get_stream_source()), CODECS[self._codec].container
            progress = phase("Saving", source.stat().st_size)
            copy_video(source, target, container, tags, lambda done, _: progress.reach(done))
        else:
            with claimed(target, end=target.suffix) as beside:  # its end names the container
                super().save_to(
                    str(beside), format=format, codec=codec, metadata=metadata, **options
                )
        self._on_saved(target)
