"""What a verdict says, in English, each text with its key and values for other languages."""

from __future__ import annotations

from typing import Any

GIB = 2**30
NAMES = {
    "read": "Reading the video", "proxy": "Stage 1", "guide": "The guide",
    "enlarge": "The encode", "detail": "Stage 2", "decode": "The decode",
}  # fmt: skip
TEXTS = {
    "host": "{stage} needs {need} of memory",
    "device": "{stage} needs {need} of VRAM above the weights",
    "offload": "{stage} leaves no room for all weights: some wait in RAM, which is slower",
    "disk": "ComfyUI's {folder} folder needs {need}, {have} are free",
    "proxy_frames": "The proxy has {frames} frames; Wan2.1 was trained on {trained}. "
    "r_t {r_t} brings it there.",
    "short_proxy": "At r_t {now} the proxy has {frames} frames, and no stage-1 LoRA helps it; "
    "Wan2.1 was trained on {trained}. r_t {r_t} gives it {better}.",
    "to_file": "Decode with TiledVAEDecodeToVideo, which holds a few frames at a time",
    "guide_on_disk": "Set store of ScaledRoPEAligner to disk",
    "budget": "Set memory_budget of LocalityPreservingPatch to 0 (automatic)",
    "keep_steps": "Set keep_steps of DetailJointSampler to false",
    "smaller": "With {inputs} it would fit",
    "also_smaller": "With {inputs} as well it would fit",
    "or_smaller": "Or with {inputs} it would fit",
    "free_disk": "Free some space in ComfyUI's {folder} folder, or make a smaller video",
    "weights": "The model's weights alone take {need}: choose a smaller model, or fp8 files",
    "least": "Choose a smaller or shorter video, or a smaller model",
}
Values = tuple[tuple[str, str | int], ...]


def said(key: str, **values: str | int) -> dict[str, Any]:
    """The fields that a text takes: in English, and as key and values."""
    shown = {k: NAMES[str(v)] if k == "stage" else v for k, v in values.items()}
    return {"text": TEXTS[key].format(**shown), "key": key, "values": tuple(values.items())}


def gib(count: int) -> str:
    return f"{count / GIB:,.1f} GiB"
