"""LocalityPreservingPatch: a MODEL whose attention is local and guided."""

from __future__ import annotations

from comfy_api.latest import io

from ..atlasvid_core.attention import BACKENDS
from . import host, refuse
from .detail import GIB, NODE, Detail, cut_for
from .host_progress import one_forward
from .sockets import CATEGORY, HIDDEN, PLAN_TIP, Guide, Plan, search
from .timing import timed


class LocalityPreservingPatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidLocalityPreservingPatch",
            display_name=NODE,
            category=CATEGORY,
            **search("local attention", "sparse attention", "upscale video"),
            description="Stage 2's attention: every cube of the video sees its neighbours and "
            "the proxy tokens of its own place and time, so cost grows linearly with the video. "
            "The MODEL also works in KSampler and SamplerCustomAdvanced.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan2.1, with the detail LoRA if you have one; step-distilled and "
                    "style LoRAs stack on it. It is not changed: a patched copy goes out.",
                ),
                Plan.Input("plan", tooltip=PLAN_TIP),
                Guide.Input(
                    "guide",
                    optional=True,
                    tooltip="From ScaledRoPEAligner. Without it the video has no global plan.",
                ),
                io.Combo.Input(
                    "backend", options=list(BACKENDS), default="auto",
                    tooltip="How local attention is computed; all give the same result. auto: "
                    "flex (compiled on first use) on CUDA, windowed elsewhere. dense holds "
                    "everything at once: small videos only.",
                ),
                io.Float.Input(
                    "memory_budget", default=0.0, min=0.0, max=1024.0, step=0.5, optional=True,
                    tooltip="GB of device memory for the work above the weights. 0: as much as "
                    "suits this machine. Smaller is slower, down to the hidden state in host "
                    "memory; the result stays the same up to rounding.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "patched",
                    display_name="model",
                    tooltip="For DetailJointSampler or a stock sampler.",
                ),
                io.String.Output(
                    "summary",
                    display_name="summary",
                    tooltip="How the work is cut to fit: slabs, chunks, where the hidden state is.",
                ),
            ],
            hidden=HIDDEN,
        )  # fmt: skip

    @classmethod
    @timed
    def execute(cls, model, plan, guide=None, backend="auto", memory_budget=0.0) -> io.NodeOutput:
        facts = host.check_model(model, NODE, cls.hidden, plan)
        refuse.check_unpatched(host.detail_of(model), NODE)
        if guide is not None:
            refuse.check_guide(guide, plan, facts)
        budget = int(memory_budget * GIB) or host.auto_budget_bytes()
        chunks, sizes = cut_for(plan, guide, facts, budget)
        detail = Detail(
            plan, guide, backend, host.cast, one_forward("One step"), chunks, sizes,
            pin=host.pins_memory(),
        )  # fmt: skip
        return io.NodeOutput(host.patch(model, detail), detail.summary())
