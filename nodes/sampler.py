"""DetailJointSampler: stage 2, the video at full size."""

from __future__ import annotations

import logging

import torch
from comfy_api.latest import io

from ..atlasvid_core.plan import VideoPlan
from ..atlasvid_core.units import LATENT_CHANNELS
from . import host, refuse
from .enlarge import enlarged, given
from .fingerprint import Unnamed, fingerprint
from .host_identity import model_fingerprint, vae_fingerprint, versions, wrapped_by
from .kept_steps import KeptSteps, prune
from .sockets import CATEGORY, HIDDEN, PLAN_TIP, Plan, sampler_inputs, search
from .start_image import for_video
from .timing import part, timed

NODE = "DetailJointSampler"
OTHERS = (
    "AtlasVid: %s keeps its result but no steps: this job, interrupted, starts over. Only euler "
    "goes on where it was."
)
WRAPPED = (
    "AtlasVid: a job with %s on its MODEL keeps its result but no steps: interrupted, it starts "
    "over. What such a node remembers from step to step is in no kept one."
)
UNNAMED = (
    "AtlasVid: no steps are kept, since what this job is made from can't be told from another's "
    "(%s). Without the node that put it on the MODEL or the conditioning they would be."
)
UNTRAINED = (
    "AtlasVid: stage 2 starts from noise and no LoRA is loaded. Wan2.1 itself was not trained for "
    "that: expect a picture that repeats. Set start of DetailJointSampler to proxy."
)


class DetailJointSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidDetailJointSampler",
            display_name=NODE,
            category=CATEGORY,
            **search("stage 2", "ksampler", "upscale video"),
            description="Stage 2: denoises the full-size video under the guide, from the enlarged "
            "proxy (connect proxy and vae), or with trained LoRAs from noise.",
            inputs=[
                io.Model.Input("model", tooltip="From LocalityPreservingPatch."),
                Plan.Input("plan", tooltip=PLAN_TIP),
                io.Conditioning.Input("positive", tooltip="What the video shows."),
                *sampler_inputs(1.0, "1: no classifier-free guidance, as in the paper, and twice "
                                     "as fast."),
                io.Combo.Input(
                    "start", options=["noise", "proxy"], default="proxy",
                    tooltip="proxy: the enlarged proxy, denoised in part; works with LoRAs and "
                    "without. noise: with trained LoRAs only.",
                ),
                io.Float.Input(
                    "denoise", default=0.6, min=0.01, max=1.0, step=0.01,
                    tooltip="With start proxy: how much of it to make anew. Unused with noise.",
                ),
                io.Conditioning.Input(
                    "negative", optional=True,
                    tooltip="Used when cfg is not 1; without it, zeros stand in.",
                ),
                io.Latent.Input(
                    "proxy", optional=True,
                    tooltip="With start proxy: its latent. One of the target's size is used as "
                    "it is, a smaller one is enlarged.",
                ),
                io.Vae.Input(
                    "vae", optional=True,
                    tooltip="With start proxy: enlarges it in pixels, in-between frames following "
                    "the motion. Clearly better than without, for the time of one encode.",
                ),
                io.Boolean.Input(
                    "keep_steps", default=True, optional=True,
                    tooltip="Keeps each finished step in ComfyUI's output folder (atlasvid/steps), "
                    "so that the same job, queued again after a crash, goes on from there. With "
                    "euler only.",
                ),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent", tooltip="For TiledVAEDecode.")
            ],
            hidden=HIDDEN,
        )  # fmt: skip

    @classmethod
    @timed
    def execute(
        cls, model, plan, positive, seed, steps, cfg, sampler_name, scheduler, shift,
        start, denoise, negative=None, proxy=None, vae=None,
        keep_steps=True,
    ) -> io.NodeOutput:  # fmt: skip
        facts = host.check_model(model, NODE, cls.hidden)
        refuse.check_detail(host.detail_of(model), plan, NODE)
        if start == "proxy":
            given(proxy)
        else:
            if not host.has_loras(model):
                logging.warning(UNTRAINED)
            proxy, vae, denoise = None, None, 1.0
        if negative is None:
            negative = [[torch.zeros_like(text), dict(rest)] for text, rest in positive]
        chosen = {
            "seed": seed, "steps": steps, "cfg": cfg, "scheduler": scheduler, "denoise": denoise
        }  # fmt: skip
        if facts.takes_image:
            lat = plan.target_lat
            positive, negative = (for_video(x, lat, NODE) for x in (positive, negative))
        texts = (positive, negative)
        shifted = host.with_shift(model, shift)
        kept = found = None
        if keep_steps:
            kept = _kept(
                versions(model), shift, plan, texts, chosen, sampler_name,
                host.detail_of(model).identity(), proxy, vae_fingerprint(vae), model=model,
            )  # fmt: skip
            found = None if kept is None else kept.latest()
        if found is not None:
            what = f"{found.steps} of {steps} steps were" if found.steps else "its start was"
            logging.info("AtlasVid: %s kept in %s", what, kept)
            samples = host.to_output(found.latent)
            if found.finished:
                host.detail_of(model).end()
                return io.NodeOutput({"samples": samples})
        else:
            samples = _begun(proxy, plan, vae)
            if kept is not None and vae is not None:
                kept.put(0, samples)
        with part("sampling"):
            if kept is not None and _keeps_steps(model, sampler_name):
                samples = host.sample_resumable(shifted, samples, *texts, kept, found, **chosen)
            else:
                samples = host.sample(shifted, samples, *texts, sampler_name=sampler_name, **chosen)
        if kept is not None:
            kept.finish(steps, samples)
        return io.NodeOutput({"samples": samples})


def _kept(*made_from, model) -> KeptSteps | None:
    """Where the steps of this job are kept; None, which the log says, for one without a name."""
    try:
        job = fingerprint(*made_from, model_fingerprint(model))
    except Unnamed as error:
        logging.warning(UNNAMED, error)
        return None
    prune(host.steps_folder(), but=job)
    return KeptSteps(host.steps_folder(), job)


def _keeps_steps(model, sampler_name: str) -> bool:
    """Whether a job that goes on after a kept step ends in the same bytes; if not, the log says."""
    wrappers = wrapped_by(model)
    if sampler_name != "euler":
        logging.info(OTHERS, sampler_name)
    elif wrappers:
        logging.info(WRAPPED, ", ".join(wrappers))
    return sampler_name == "euler" and not wrappers


def _begun(proxy: dict | None, plan: VideoPlan, vae) -> torch.Tensor:
    """What sampling starts from: the enlarged proxy, or without one an empty latent."""
    if proxy is None:
        return host.empty_latent((1, LATENT_CHANNELS, *plan.target_lat))
    with part("start"):
        return enlarged(proxy, plan, vae, NODE)
