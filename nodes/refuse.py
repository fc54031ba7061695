"""What the nodes turn down, and in which words: rules on plain values, without the host.

Every function returns None or raises a ValueError that says what was given, what is allowed
and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..atlasvid_core.plan import VideoPlan
from ..atlasvid_core.units import LATENT_CHANNELS, Grid
from .kept_guide import KeptGuide

MIN_TILE_PX = 64
IN_CHANNELS = {16: "text to video", 36: "image to video"}
USE_WAN = (
    "Load a Wan2.1 (or Wan2.2 14B) text-to-video or image-to-video file with the Load Diffusion "
    "Model node."
)

# What reaches the network through the MODEL and that a local, guided forward can't honour.
OPTIONS = {
    "optimized_attention_override": "another attention function (Sage, sparse or radial attention)",
    "patches_replace": "replacements of transformer blocks",
    "patches": "patches of transformer blocks",
    "rope_options": "scaled or shifted RoPE (the ScaleROPE node)",
}

# What reaches the network through the conditioning.
CONDITIONS = {
    "control": "a ControlNet",
    "gligen": "GLIGEN",
    "area": "an area",
    "set_area_to_bounds": "a mask that sets an area",
    "reference_latents": "reference latents",
    "reference_latent": "reference latents",
    "time_dim_concat": "context latents",
    "vace_frames": "Vace frames",
    "camera_conditions": "camera conditions",
    "audio_embed": "an audio track",
    "reference_motion": "reference motion",
    "control_video": "a control video",
    "face_video_pixels": "a face video",
    "pose_video_latent": "a pose video",
}


@dataclass(frozen=True)
class ModelFacts:
    """A loaded MODEL in plain values. `plain_wan` is false for Vace, Camera, S2V, Animate, ..."""

    kind: str
    plain_wan: bool
    in_channels: int = 0
    out_channels: int = 0
    layers: int = 0
    heads: int = 0
    width: int = 0
    ffn_width: int = 0
    element_bytes: int = 4
    reference_conv: bool = False

    @property
    def takes_image(self) -> bool:
        """Whether it reads a start image; text to video leaves one that it is given unread."""
        return self.in_channels > LATENT_CHANNELS


def check_model(facts: ModelFacts, node: str) -> None:
    if not facts.plain_wan:
        raise ValueError(
            f"{node} was given a model of the kind {facts.kind}. It needs a plain Wan2.1 video "
            f"model; Vace, S2V, Animate, Camera, HuMo and other networks don't fit. {USE_WAN}"
        )
    if facts.out_channels != LATENT_CHANNELS or facts.in_channels not in IN_CHANNELS:
        kinds = " or ".join(f"{n} ({what})" for n, what in IN_CHANNELS.items())
        raise ValueError(
            f"{node} was given a Wan model with {facts.in_channels} input and "
            f"{facts.out_channels} output channels. It takes {kinds} in and {LATENT_CHANNELS} "
            f"out; Wan2.2 5B and control models have others. {USE_WAN}"
        )
    if facts.reference_conv:
        raise ValueError(
            f"{node} was given a Wan model with a reference-image branch (Fun Control), which "
            f"AtlasVid can't serve. {USE_WAN}"
        )


def check_options(model_options: Mapping[str, Any], node: str, stage: int = 2) -> None:
    """`model_options` of a MODEL, before or during sampling. Stage 1 is the host's own forward:
    there everything works but what has its own idea of time."""
    if model_options.get("context_handler") is not None:
        raise ValueError(
            f"{node}: the MODEL carries context windows, which cut the video where AtlasVid "
            "attends across it. Bypass the Context Windows node; AtlasVid bounds memory itself."
        )
    if stage == 1:
        if model_options.get("transformer_options", {}).get("rope_options"):
            raise ValueError(
                f"{node}: the MODEL carries {OPTIONS['rope_options']}, and stage 1 scales RoPE "
                "itself, by the plan's r_t. Bypass the node that sets it on this MODEL."
            )
        return
    check_transformer_options(model_options.get("transformer_options", {}), node)


def check_transformer_options(options: Mapping[str, Any], node: str) -> None:
    for key, what in OPTIONS.items():
        value = options.get(key)
        if isinstance(value, Mapping):  # {"dit": {}} patches nothing
            value = any(value.values())
        if value:
            raise ValueError(
                f"{node}: the MODEL carries {what} ({key}), which AtlasVid's own attention would "
                "silently drop. Bypass the node that sets it on this MODEL."
            )


def check_conditions(conds: Mapping[str, Iterable[Mapping[str, Any]] | None], node: str) -> None:
    """`conds`: positive and negative, each a list of the host's condition dictionaries."""
    for name, entries in conds.items():
        for entry in entries or ():
            for key, what in CONDITIONS.items():
                value = entry.get(key)
                if value is not None and value is not False:
                    raise ValueError(
                        f"{node}: the {name} conditioning carries {what} ({key}). AtlasVid takes "
                        "text, and on image-to-video models a start image. Remove the node that "
                        "adds it."
                    )


def check_forward_inputs(inputs: Mapping[str, Any], node: str) -> None:
    """Anything that the host hands the network beside latents, timestep, text and image."""
    extra = [name for name, value in inputs.items() if value is not None]
    if extra:
        raise ValueError(
            f"{node}: the model is given {', '.join(extra)} beside latent, text and image, which "
            "AtlasVid can't serve. Remove the node that adds it to the conditioning."
        )


def check_shape(shape: Sequence[int], what: str) -> Grid:
    """The shape of a video latent, [1, 16, t, h, w]; returns (t, h, w)."""
    if len(shape) != 5 or shape[1] != LATENT_CHANNELS:
        raise ValueError(
            f"{what} has the shape {list(shape)}; a Wan2.1 video latent is "
            f"[1, {LATENT_CHANNELS}, frames, height, width]. Make it with VideoPlan, "
            "SemanticProxyGenerator or VAE Encode with the Wan2.1 VAE."
        )
    if shape[0] != 1:
        raise ValueError(
            f"{what} holds a batch of {shape[0]} videos; AtlasVid makes one at a time. "
            "Pick one of them, or run the job once for each."
        )
    return Grid(*shape[2:])


def check_latent(samples: Tensor, what: str) -> Grid:
    """As `check_shape`, and every value is a number."""
    lat = check_shape(samples.shape, what)
    check_finite(samples, what)
    return lat


def check_finite(samples: Tensor, what: str) -> None:
    if not torch.isfinite(samples).all():
        bad = int((~torch.isfinite(samples)).sum())
        raise ValueError(
            f"{what} holds {bad} values of {samples.numel()} that are not finite (NaN or "
            "infinity); only numbers can be sampled. Look at the node that made it: fp16 "
            "overflow is the usual cause, bf16 or fp32 the remedy."
        )


def check_target(lat: Grid, plan: VideoPlan, what: str) -> None:
    if lat != plan.target_lat:
        raise ValueError(
            f"{what} is {_size(lat)} latents, the plan's target {_size(plan.target_lat)}. Use the "
            "latent output of the VideoPlan node that also feeds the patch, or make a plan for "
            "this size."
        )


def check_proxy(proxy_tok: Grid, plan: VideoPlan) -> None:
    if any(p > t for p, t in zip(proxy_tok, plan.target_tok, strict=True)):
        raise ValueError(
            f"The proxy has {_size(proxy_tok)} tokens, the plan's target only "
            f"{_size(plan.target_tok)}: a proxy may be no larger than its target along any axis. "
            "Shorten or shrink the proxy video, or plan a larger target."
        )


def check_guide(guide: KeptGuide, plan: VideoPlan, facts: ModelFacts) -> None:
    if guide.target_tok != plan.target_tok:
        raise ValueError(
            f"The guide was aligned for a target of {_size(guide.target_tok)} tokens, this plan's "
            f"target has {_size(plan.target_tok)}. Feed ScaledRoPEAligner and "
            "LocalityPreservingPatch from the same VideoPlan."
        )
    layers, heads = guide.layers, guide.heads
    if (layers, heads) != (facts.layers, facts.heads):
        raise ValueError(
            f"The guide comes from a model of {layers} layers with {heads} heads, this model has "
            f"{facts.layers} layers with {facts.heads} heads. Load the same base model for both "
            "branches; only their LoRAs differ."
        )


def check_tile(tile_px: int, node: str) -> None:
    if tile_px != 0 and (tile_px < MIN_TILE_PX or tile_px % 8):
        raise ValueError(
            f"{node}: tile is {tile_px}; it must be 0 (chosen from free memory), or a multiple of "
            f"8 pixels from {MIN_TILE_PX} on."
        )


def check_vae_room(needed: int, free: int, tile_px: int, node: str, encodes: bool) -> None:
    """Bytes that the chosen tiles need while they are decoded, or encoded."""
    if needed > free:
        work = "encoding needs" if encodes else "decoding needs"
        way = (
            "Set tile to 0, which finds the largest that fits"
            if tile_px
            else "Even its smallest tiles do not fit. Close other programs, or make a smaller video"
        )
        raise ValueError(
            f"{node}: {work} {_gb(needed)}, {_gb(free)} are free on the VAE's device. {way}."
        )


def check_image_room(shape: Sequence[int], free: int, node: str) -> None:
    """An IMAGE [frames, height, width, 3] in float32."""
    needed = 4 * math.prod(shape)
    if needed > free:
        frames, height, width = shape[:3]
        raise ValueError(
            f"{node}: {frames} frames of {width} x {height} are an IMAGE of {_gb(needed)}, "
            f"{_gb(free)} of memory are free. Use TiledVAEDecodeToVideo, which writes the frames "
            "to a file as they come."
        )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"


def check_unpatched(detail: Any | None, node: str) -> None:
    if detail is not None:
        raise ValueError(
            f"{node} was given a MODEL that LocalityPreservingPatch has patched already; it takes "
            "one without. Connect the MODEL from before that node."
        )


def check_detail(detail: Any | None, plan: VideoPlan, node: str) -> None:
    """`detail`: what the patch left on the MODEL, if anything."""
    if detail is None:
        raise ValueError(
            f"{node} was given a MODEL without AtlasVid's attention: it would attend over all "
            f"{plan.target_tok.count:,} tokens. Put LocalityPreservingPatch before it."
        )
    if detail.plan != plan:
        raise ValueError(
            f"{node}: its plan (target {_size(plan.target_lat)} latents) is not the one that "
            f"the MODEL was patched with (target {_size(detail.plan.target_lat)}). Feed both "
            "nodes from the same VideoPlan."
        )


def _size(grid: Grid) -> str:
    return f"{grid} (t x h x w)"
