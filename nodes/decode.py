"""TiledVAEDecode: latents to frames in memory, exactly, in tiles that fit."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..atlasvid_core.decode import decode_blocks
from ..atlasvid_core.tiles import STRIDE_PX, TilePlan
from ..atlasvid_core.walk import frames_px, parts
from . import host, host_vae, refuse
from .decoding import REMEDY, disk_errors, ever_smaller
from .host_progress import phase
from .ladder import climb_down
from .sockets import CATEGORY, search
from .timing import timed

NODE = "TiledVAEDecode"
TILE = io.Int.Input(
    "tile", default=0, min=0, max=8192, step=8,
    tooltip="Side of a tile in pixels. 0: chosen from free memory. The result is the same with "
    "any; smaller tiles need less memory and more time.",
)  # fmt: skip


class TiledVAEDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidTiledVAEDecode",
            display_name=NODE,
            category=CATEGORY,
            **search("vae decode tiled", "wan vae"),
            description="Decodes a video exactly as the whole of it at once would be, one latent "
            "frame and one tile at a time: no flashes between tiles of time, no seams in space. "
            "The images lie in memory; for long or large videos use TiledVAEDecodeToVideo.",
            inputs=[
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE."),
                io.Latent.Input("samples", tooltip="From DetailJointSampler."),
                TILE,
            ],
            outputs=[io.Image.Output("images", display_name="images", tooltip="The frames.")],
        )

    @classmethod
    @timed
    @torch.no_grad()
    def execute(cls, vae, samples, tile) -> io.NodeOutput:
        refuse.check_tile(tile, NODE)
        t, h, w = refuse.check_latent(samples["samples"], "The latent to decode")
        shape = (frames_px(t), STRIDE_PX * h, STRIDE_PX * w, 3)
        refuse.check_image_room(shape, host_vae.free_image_bytes(vae), NODE)
        module, latent, plan = host_vae.load_vae(vae, samples["samples"], NODE, tile)
        images = host_vae.empty_image(vae, shape)

        def work(plan: TilePlan) -> None:
            progress, folder = phase("Decoding", parts(plan, t)), host.temporary_folder()
            for block in decode_blocks(module, latent[0], plan, folder, progress):
                images[block.place] = host_vae.to_image(vae, block.pixels_T3HW)

        with disk_errors(NODE, host.temporary_folder(), goes_on=False):
            climb_down(ever_smaller(module, plan), work, NODE, REMEDY)
        return io.NodeOutput(images)
