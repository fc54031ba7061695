"""CachedTextEncode and LoadConditioning: a prompt is encoded once, and its encoder loaded for that
alone.
"""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..atlasvid_core.conditioning_file import load_conditioning
from . import host_text
from .kept_text import KeptTexts, Unnamed, encoder_of
from .sockets import CATEGORY, HIDDEN, search
from .timing import timed

NONE_YET = "none kept yet"


class CachedTextEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidCachedTextEncode",
            display_name="CachedTextEncode",
            category=CATEGORY,
            **search("clip text encode", "prompt", "conditioning cache"),
            description="CLIP Text Encode that keeps its result in a file. A prompt that was "
            "encoded before, by the same encoder, is read from there, and the encoder (11 GB for "
            "umt5 in 16 bit) is not even loaded.",
            inputs=[
                io.Clip.Input(
                    "clip", lazy=True,
                    tooltip="The text encoder, from Load CLIP; with LoRAs or skipped layers if you "
                    "like. Loaded only where the prompt is new.",
                ),
                io.String.Input(
                    "text", multiline=True, dynamic_prompts=True,
                    tooltip="The prompt.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning", display_name="conditioning",
                    tooltip="The same as CLIP Text Encode gives, bit for bit.",
                ),
                io.String.Output(
                    "summary", display_name="summary",
                    tooltip="Whether it was encoded now or read from a file, and which.",
                ),
            ],
            hidden=HIDDEN,
        )  # fmt: skip

    @classmethod
    def check_lazy_status(cls, text, clip=None) -> list[str]:
        kept, path, _ = cls._place(text)
        return [] if clip is not None or path and kept.has(path) else ["clip"]

    @classmethod
    @timed
    def execute(cls, text, clip=None) -> io.NodeOutput:
        kept, path, reason = cls._place(text)
        if path and kept.has(path):
            found = kept.get(path, host_text.conditioning_device())
            return io.NodeOutput(found, f"read from {path.name}")
        conditioning = host_text.encode(clip, text)
        if path and kept.put(path, conditioning, text):
            return io.NodeOutput(conditioning, f"encoded, kept as {path.name}")
        return io.NodeOutput(conditioning, f"encoded, not kept{': ' if reason else ''}{reason}")

    @classmethod
    def _place(cls, text: str) -> tuple[KeptTexts, Path | None, str]:
        """-> what is kept; where this prompt lies or will lie there, or None and why it can't."""
        kept = KeptTexts(host_text.conditioning_folder())
        try:
            if host_text.reads_embedding(text):
                raise Unnamed("the prompt reads a file by embedding:, which may change")
            encoder = encoder_of(
                cls.hidden.prompt or {}, str(cls.hidden.unique_id), "clip",
                host_text.model_files, host_text.changes_by_itself,
            )  # fmt: skip
        except (Unnamed, OSError) as error:
            return kept, None, str(error)
        return kept, kept.path(text, encoder, host_text.encoder_settings()), ""


class LoadConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = sorted(p.name for p in host_text.conditioning_folder().glob("*.safetensors"))
        return io.Schema(
            node_id="AtlasVidLoadConditioning",
            display_name="LoadConditioning",
            category=CATEGORY,
            **search("conditioning cache", "prompt file"),
            description="A prompt that CachedTextEncode kept, here or on another machine: no text "
            "encoder is needed. The files lie in output/atlasvid/conditioning.",
            inputs=[
                io.Combo.Input(
                    "file", options=files or [NONE_YET],
                    tooltip="Named by the prompt's first words. Press R to read the folder anew.",
                )
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning", display_name="conditioning", tooltip="For the samplers."
                ),
                io.String.Output("text", display_name="text", tooltip="The prompt it was made of."),
            ],
        )  # fmt: skip

    @classmethod
    @timed
    def execute(cls, file) -> io.NodeOutput:
        path = host_text.conditioning_folder() / Path(file).name
        if not path.is_file():
            raise ValueError(
                f"{file!r} is not in {path.parent}. Encode a prompt with CachedTextEncode first, "
                "or copy the file there."
            )
        return io.NodeOutput(*load_conditioning(path, host_text.conditioning_device()))

    @classmethod
    def fingerprint_inputs(cls, file) -> float:
        path = host_text.conditioning_folder() / Path(file).name
        return path.stat().st_mtime if path.is_file() else 0.0
