"""ScaledRoPEAligner: the proxy, read once, becomes keys and values for every layer."""

from __future__ import annotations

from uuid import uuid4

import torch
from comfy_api.latest import io

from ..atlasvid_core.budget import CHUNKS_TOK
from ..atlasvid_core.guide import Guide as MadeGuide
from ..atlasvid_core.guide import make_guide, to_host
from ..atlasvid_core.rope import proxy_axes
from ..atlasvid_core.units import tok_from_lat
from . import host, refuse
from .enlarge import TIME_SCALE
from .fingerprint import Unnamed, fingerprint
from .host_identity import model_fingerprint
from .host_progress import phase
from .kept_guide import DTYPES, KeptGuide, on_disk
from .ladder import climb_down
from .sockets import CATEGORY, HIDDEN, PLAN_TIP, Guide, Plan, search
from .timing import timed

NODE = "ScaledRoPEAligner"
REMEDY = (
    "Take a smaller proxy_height in VideoPlan, offload more of the weights (--lowvram), or close "
    "what else uses the device."
)


class ScaledRoPEAligner(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidScaledRoPEAligner",
            display_name=NODE,
            category=CATEGORY,
            **search("upscale video", "rope", "guide"),
            description="Lays a proxy over the video: gives its tokens the coordinates of the "
            "places they show, and keeps their keys and values of every layer as the guide. Any "
            "video can be the proxy: see VideoToProxy.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan2.1, with the proxy LoRA if you have one. The same base file as "
                    "the detail branch.",
                ),
                io.Latent.Input(
                    "proxy", tooltip="From SemanticProxyGenerator, or any video's latent."
                ),
                Plan.Input("plan", tooltip=PLAN_TIP),
                io.Combo.Input(
                    "dtype", options=list(DTYPES), default="auto", optional=True,
                    tooltip="Of the kept keys and values. auto: the one the model computes in.",
                ),
                io.Combo.Input(
                    "store", options=["memory", "disk"], default="memory", optional=True,
                    tooltip="Where they wait: host memory, or a file in ComfyUI's temp folder that "
                    "is read piece by piece.",
                ),
            ],
            outputs=[
                Guide.Output("guide", display_name="guide", tooltip="For LocalityPreservingPatch."),
                io.String.Output(
                    "summary", display_name="summary", tooltip="Its tokens, type, size and place."
                ),
            ],
            hidden=HIDDEN,
        )  # fmt: skip

    @classmethod
    @timed
    def execute(cls, model, proxy, plan, dtype="auto", store="memory") -> io.NodeOutput:
        facts = host.check_model(model, NODE, cls.hidden, plan)
        lat = refuse.check_latent(proxy["samples"], "The proxy")
        tok = tok_from_lat(lat)
        refuse.check_proxy(tok, plan)
        axes = proxy_axes(tok, plan.target_tok, plan.alignment, proxy.get(TIME_SCALE))
        keep = to_host(DTYPES[dtype])
        if store == "disk":
            keep = on_disk(host.temporary_folder(), DTYPES[dtype])

        @torch.no_grad()
        def cut(chunk_tok: int) -> tuple[MadeGuide, int]:
            network = host.load_network(model, proxy["samples"].shape)
            guide = make_guide(
                network, host.network_input(model, proxy["samples"]), axes, plan.target_tok,
                cast=host.cast, progress=phase("Reading the proxy", facts.layers), keep=keep,
                chunk_tok=chunk_tok,
            )  # fmt: skip
            return guide, chunk_tok

        def make(most_tok: int) -> tuple[MadeGuide, int]:
            rungs = [tok for tok in CHUNKS_TOK if tok <= most_tok]
            return climb_down(rungs, cut, NODE, REMEDY, "chunks of {:,} tokens".format)

        where = "in host memory" if store == "memory" else "on disk"
        identity = _identity(model, proxy["samples"], axes, dtype)
        guide = KeptGuide(make, max(CHUNKS_TOK), where, identity)
        return io.NodeOutput(guide, guide.summary())


def _identity(model, *made_from) -> str:
    """Two guides of one name are the same; where none can be given, it is like no other."""
    try:
        return fingerprint(model_fingerprint(model), *made_from)
    except Unnamed:
        return uuid4().hex
