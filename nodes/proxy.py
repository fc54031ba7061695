"""SemanticProxyGenerator: stage 1, the whole video small and at a low frame rate."""

from __future__ import annotations

from comfy_api.latest import io

from ..atlasvid_core.units import LATENT_CHANNELS
from . import host, refuse
from .enlarge import TIME_SCALE
from .sockets import (
    CATEGORY,
    FPS_TIP,
    HIDDEN,
    PLAN_TIP,
    PROXY_FPS_TIP,
    Plan,
    sampler_inputs,
    search,
)
from .start_image import for_video
from .timing import timed

NODE = "SemanticProxyGenerator"


class SemanticProxyGenerator(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidSemanticProxyGenerator",
            display_name=NODE,
            category=CATEGORY,
            **search("stage 1", "text to video", "long video"),
            description="Stage 1: makes the proxy, the whole video at low resolution and a low "
            "frame rate, by stretching the model's sense of time r_t times. With r_t 1 it is the "
            "stock KSampler.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan2.1, with the stage-1 LoRA if you have one. Straight from the "
                    "loaders, not patched by LocalityPreservingPatch.",
                ),
                io.Conditioning.Input("positive", tooltip="What the video shows."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                Plan.Input("plan", tooltip=PLAN_TIP),
                *sampler_inputs(6.0, "Classifier-free guidance: how closely to follow the prompt."),
            ],
            outputs=[
                io.Latent.Output(
                    "proxy",
                    display_name="proxy",
                    tooltip="Latent of the proxy: for ScaledRoPEAligner, or VAE Decode to see it.",
                ),
                io.Float.Output("fps", display_name="fps", tooltip=FPS_TIP),
                io.Float.Output("proxy_fps", display_name="proxy_fps", tooltip=PROXY_FPS_TIP),
            ],
            hidden=HIDDEN,
        )

    @classmethod
    @timed
    def execute(
        cls, model, positive, negative, plan,
        seed, steps, cfg, sampler_name, scheduler, shift,
    ) -> io.NodeOutput:  # fmt: skip
        facts = host.check_model(model, NODE, cls.hidden, plan, stage=1)
        refuse.check_unpatched(host.detail_of(model), NODE)
        if facts.takes_image:
            positive, negative = (for_video(x, plan.proxy_lat, NODE) for x in (positive, negative))
        samples = host.sample(
            host.with_time_scale(host.with_shift(model, shift), plan.r_t),
            host.empty_latent((1, LATENT_CHANNELS, *plan.proxy_lat)),
            positive, negative,
            seed=seed, steps=steps, cfg=cfg, sampler_name=sampler_name, scheduler=scheduler,
        )  # fmt: skip
        proxy = {"samples": samples, TIME_SCALE: plan.r_t}
        return io.NodeOutput(proxy, plan.fps, plan.fps / plan.r_t)
