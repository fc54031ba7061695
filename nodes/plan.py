"""VideoPlan: what to make, how, and what it costs."""

from __future__ import annotations

from comfy_api.latest import io

from ..atlasvid_core.plan import ALIGNMENTS, REACHES, make_plan
from ..atlasvid_core.units import LATENT_CHANNELS, Grid
from . import host
from .sockets import CATEGORY, Plan, search
from .timing import timed


class VideoPlanNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidPlan",
            display_name="VideoPlan",
            category=CATEGORY,
            **search("4k video", "8k video", "long video", "high resolution video", "video size"),
            description="Sizes of the video and of its proxy, the cubes of local attention, and "
            "what it all costs, before anything runs. Feeds every other AtlasVid node.",
            inputs=[
                io.Int.Input(
                    "width", default=3840, min=16, max=16384, step=16,
                    tooltip="Width of the video in pixels, a multiple of 16.",
                ),
                io.Int.Input(
                    "height", default=2160, min=16, max=16384, step=16,
                    tooltip="Height of the video in pixels, a multiple of 16.",
                ),
                io.Int.Input(
                    "frames", default=161, min=1, max=4097, step=4,
                    tooltip="Number of frames, 4k + 1 (81, 161, 321 ...).",
                ),
                io.Float.Input(
                    "fps", default=16.0, min=0.01, max=240.0, step=0.01,
                    tooltip="Frames per second of the video; Wan2.1 makes 16. "
                    "SemanticProxyGenerator passes it on to the files; VideoToProxy does with the "
                    "plan's rate.",
                ),
                io.Float.Input(
                    "r_t", default=4.0, min=1.0, max=64.0, step=1.0,
                    tooltip="How many times fewer frames the proxy has. 4 is the paper's: 81 "
                    "proxy frames span a video of 321.",
                ),
                io.Int.Input(
                    "proxy_height", default=480, min=16, max=4096, step=16,
                    tooltip="Height of the proxy in pixels; its width follows the video's shape. "
                    "480 keeps the guide small, 720 guides more finely.",
                ),
                io.Int.Input(
                    "cube_t", default=4, min=0, max=64,
                    tooltip="Cube of local attention, tokens in time (1 token: 4 frames).",
                ),
                io.Int.Input(
                    "cube_h", default=8, min=0, max=64,
                    tooltip="Cube of local attention, tokens in height (1 token: 16 pixels).",
                ),
                io.Int.Input(
                    "cube_w", default=8, min=0, max=64,
                    tooltip="Cube of local attention, tokens in width (1 token: 16 pixels).",
                ),
                io.Combo.Input(
                    "reach", options=list(REACHES), default="faces",
                    tooltip="Which cubes a cube sees besides itself: own none, faces the 6 that "
                    "touch, plane the 8 of its time slice, all the 26 around it.",
                ),
                io.Combo.Input(
                    "alignment", options=list(ALIGNMENTS), default="ratio",
                    tooltip="How proxy tokens are laid over the video: ratio as in the paper, "
                    "endpoints matches first and last. Use what the LoRAs were trained with.",
                ),
            ],
            outputs=[
                Plan.Output("plan", display_name="plan", tooltip="For the other AtlasVid nodes."),
                io.Latent.Output(
                    "latent", display_name="latent", tooltip="Empty latent of the video's size."
                ),
                io.String.Output(
                    "summary", display_name="summary", tooltip="Tokens, cubes, cost: as text."
                ),
            ],
        )  # fmt: skip

    @classmethod
    @timed
    def execute(
        cls, width, height, frames, fps, r_t, proxy_height, cube_t, cube_h, cube_w, reach, alignment
    ) -> io.NodeOutput:
        plan = make_plan(
            width_px=width, height_px=height, frames_px=frames, fps=fps, r_t=r_t,
            proxy_height_px=proxy_height, cube_tok=Grid(cube_t, cube_h, cube_w),
            reach=reach, alignment=alignment,
        )  # fmt: skip
        latent = host.empty_latent((1, LATENT_CHANNELS, *plan.target_lat))
        return io.NodeOutput(plan, {"samples": latent}, plan.summary())
