"""TiledVAEDecodeToVideo: latents to a video file, exactly, never the whole video in memory."""

from __future__ import annotations

import uuid
from functools import partial
from pathlib import Path

import torch
from comfy_api.latest import io

from ..atlasvid_core.sound import Sound
from ..atlasvid_core.video_file import CODECS, LEAST_FPS, MOST_FPS, VideoFormat, write_video
from . import host, host_page, refuse
from .decode import TILE
from .decoding import begin, disk_errors
from .fingerprint import fingerprint
from .finished_video import FinishedVideo
from .kept_steps import deliver
from .sockets import CATEGORY, search
from .temporary_video import TemporaryVideo
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
            description="Decodes a video exactly, one latent frame and one tile at a time, into "
            "a scratch file and from there into the video: memory does not grow with its length, "
            "and a job that was killed goes on. SaveVideo (format and codec auto) stores the "
            "result without decoding it again.",
            inputs=[
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE."),
                io.Latent.Input(
                    "samples", tooltip="From DetailJointSampler or SemanticProxyGenerator."
                ),
                io.Float.Input(
                    "fps", default=16.0, min=LEAST_FPS, max=MOST_FPS, step=0.001,
                    tooltip="Frames a second of the file: the plan's, and for a proxy the plan's "
                    "divided by r_t. SemanticProxyGenerator and VideoToProxy give both.",
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
                io.Boolean.Input(
                    "keep_decoded", default=True, optional=True,
                    tooltip="Keeps what is decoded in ComfyUI's output folder (atlasvid/decode) "
                    "until the video is made, so that the same job, queued again after a crash, "
                    "goes on from there.",
                ),
                io.Audio.Input(
                    "audio", optional=True,
                    tooltip="A soundtrack, such as that of the video that was enlarged. It ends "
                    "with the last frame.",
                ),
            ],
            outputs=[io.Video.Output("video", display_name="video", tooltip="For SaveVideo.")],
        )  # fmt: skip

    @classmethod
    @timed
    @torch.no_grad()
    def execute(
        cls, vae, samples, fps, codec, bits, crf, tile, keep_decoded=True, audio=None
    ) -> io.NodeOutput:  # fmt: skip
        form, sound = VideoFormat(codec, int(bits), fps, crf), None
        if audio is not None:
            sound = Sound(audio["waveform"][0], int(audio["sample_rate"]))
        refuse.check_tile(tile, NODE)
        refuse.check_latent(samples["samples"], "The latent to decode")
        decoding = begin(vae, samples["samples"], form.bits, tile, keep_decoded, NODE)
        path = host.temporary_folder() / f"atlasvid_{uuid.uuid4().hex[:12]}{form.suffix}"
        with disk_errors(NODE, path.parent):
            write_video(path, decoding.frames(), form, sound)
        decoding.finished()
        on_saved = partial(_delivered, fingerprint(samples["samples"]))
        return io.NodeOutput(FinishedVideo(TemporaryVideo(path), codec, on_saved))


def _delivered(latent: str, path: Path) -> None:
    """A video of the kept latent was saved; one in the temp folder is gone with the server."""
    place = host_page.view_of(path)
    if place is None or place["type"] == "output":
        deliver(host.steps_folder(), latent)
