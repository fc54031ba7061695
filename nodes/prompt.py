"""TinyPrompt: text for AtlasVid-Tiny, which knows a few dozen words."""

from __future__ import annotations

from comfy_api.latest import io

from ..atlasvid_core.tiny.words import VIEWS, encode_prompt
from .sockets import CATEGORY, search
from .timing import timed


class TinyPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidTinyPrompt",
            display_name="TinyPrompt",
            category=CATEGORY,
            **search("clip text encode", "tiny"),
            description="Text encoder of AtlasVid-Tiny, the small model that comes with the pack. "
            "For Wan2.1's own files use CLIP Text Encode.",
            inputs=[
                io.String.Input(
                    "text", default="a red ball crosses right under a dusk sky", multiline=True,
                    tooltip="Colour, shape, direction and sky. Unknown words are named in the "
                    "error, with those it knows. Empty: the negative prompt.",
                ),
                io.Combo.Input(
                    "view", options=list(VIEWS), default=VIEWS[0],
                    tooltip="Of the first output: full for stage 1, where the whole picture is "
                    "seen.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning", display_name="conditioning",
                    tooltip="The words in the chosen view: for stage 1.",
                ),
                io.Conditioning.Output(
                    "closeup", display_name="closeup",
                    tooltip="The same words seen close: for stage 2, where each cube is a part of "
                    "a larger picture.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    @timed
    def execute(cls, text, view) -> io.NodeOutput:
        seen = (view, "closeup")
        return io.NodeOutput(*([[encode_prompt(text, way), {}]] for way in seen))
