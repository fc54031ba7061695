"""TiledVAEDecodeToVideo: latents to a video file, exactly, never the whole video in memory."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..atlasvid_core.decode import decode_pixels, frames_px, parts
from ..atlasvid_core.video_file import CODECS, VideoFormat, copy_video, write_video
from . import host, refuse
from .decode import TILE
from .host_progress import phase
from .sockets import CATEGORY, search
from .timing import timed

NODE = "TiledVAEDecodeToVideo"


class TiledVAEDecodeToVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidTiledVAEDecodeToVideo",
            display_name=NODE,
            category=CATEGORY,
            **search("vae decode video", "h264", "h265", "av1", "prores", "ffv1"),
            description="Decodes a video exactly, one latent frame and one tile at a time, and "
            "encodes its frames as they come: memory does not grow with its length. SaveVideo "
            "(format and codec auto) stores the result without decoding it again.",
            inputs=[
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE."),
                io.Latent.Input("samples", tooltip="From DetailJointSampler."),
                io.Float.Input(
                    "fps", default=16.0, min=1.0, max=240.0, step=0.001,
                    tooltip="Frames a second of the file: the plan's.",
                ),
                io.Combo.Input(
                    "codec", options=list(CODECS), default="h264",
                    tooltip="h264 plays everywhere; h265 and av1 are smaller; prores is for "
                    "editing; ffv1 keeps every bit.",
                ),
                io.Combo.Input(
                    "bits", options=["8", "10"], default="8",
                    tooltip="Bits a channel. 10 avoids bands in skies; prores has 10 only.",
                ),
                io.Int.Input(
                    "crf", default=18, min=0, max=51,
                    tooltip="Quality of h264, h265 and av1: smaller is better and larger. "
                    "prores and ffv1 do not use it.",
                ),
                TILE,
            ],
            outputs=[io.Video.Output("video", display_name="video", tooltip="For SaveVideo.")],
        )  # fmt: skip

    @classmethod
    @timed
    @torch.no_grad()
    def execute(cls, vae, samples, fps, codec, bits, crf, tile) -> io.NodeOutput:
        form = VideoFormat(codec, int(bits), fps, crf)
        refuse.check_tile(tile, NODE)
        t = refuse.check_latent(samples["samples"], "The latent to decode").t
        module, latent, plan = host.load_vae(vae, samples["samples"], NODE, tile)
        folder = host.temporary_folder()
        progress = phase("Decoding", parts(plan, t) + frames_px(t))
        chunks = decode_pixels(module, latent[0], plan, folder, form.bits, progress)
        path = folder / f"atlasvid_{uuid.uuid4().hex[:12]}{form.suffix}"
        write_video(path, _each_frame(chunks, progress), form)
        return io.NodeOutput(_video(path, codec))


def _each_frame(chunks: Iterator[Tensor], on_frame: Callable[..., None]) -> Iterator[Tensor]:
    for chunk in chunks:
        for frame_HW3 in chunk:
            on_frame()
            yield frame_HW3[None]


def _video(path: Path, codec: str):
    return (QuickTime if codec == "prores" else InputImpl.VideoFromFile)(str(path))


class QuickTime(InputImpl.VideoFromFile):
    """A ProRes file. SaveVideo names its files .mp4, but FFmpeg writes no ProRes into MP4: it gets
    the same coded frames in QuickTime's container, MP4's parent, which players tell by content."""

    def save_to(self, path, format="auto", codec="auto", metadata=None, **options) -> None:
        if codec in ("auto", "prores") and format in ("auto", "mp4") and not options:
            tags = {
                k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()
            }
            copy_video(Path(self.get_stream_source()), Path(path), "mov", tags)
        else:
            super().save_to(path, format=format, codec=codec, metadata=metadata, **options)
