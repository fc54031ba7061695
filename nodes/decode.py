"""TiledVAEDecode: latents to frames, the VAE's memory of earlier frames carried along."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..atlasvid_core.decode import decode_frames
from . import host, refuse
from .sockets import CATEGORY, search

NODE = "TiledVAEDecode"


class TiledVAEDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidTiledVAEDecode",
            display_name=NODE,
            category=CATEGORY,
            **search("vae decode tiled", "wan vae"),
            description="Decodes a video one latent frame at a time, exactly as the whole video "
            "at once would be: no flashes between tiles of time, memory that does not grow with "
            "the number of frames.",
            inputs=[
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE."),
                io.Latent.Input("samples", tooltip="From DetailJointSampler."),
                io.Int.Input(
                    "tile", default=0, min=0, max=4096, step=16,
                    tooltip="Side of a tile in pixels. 0: whole frames, the only way so far.",
                ),
                io.Int.Input(
                    "overlap", default=96, min=0, max=1024, step=8,
                    tooltip="Pixels that tiles share. Unused with whole frames.",
                ),
            ],
            outputs=[io.Image.Output("images", display_name="images", tooltip="The frames.")],
        )  # fmt: skip

    @classmethod
    @torch.no_grad()
    def execute(cls, vae, samples, tile, overlap) -> io.NodeOutput:
        refuse.check_tile(tile, NODE)
        refuse.check_latent(samples["samples"], "The latent to decode")
        module, latent = host.load_vae(vae, samples["samples"], NODE)
        frames = decode_frames(module, latent, host.progress_bar(latent.shape[2]))
        return io.NodeOutput(host.to_image(vae, frames))
