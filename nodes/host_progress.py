"""Where progress goes in ComfyUI: the node's bar, its text, and previews of what is sampled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import comfy.model_management as management
import comfy.utils
import latent_preview
from comfy_execution.utils import get_executing_context
from torch import Tensor

from .preview import sheet
from .progress import STEP, Phase, Shown, Steps
from .timing import when_stopped


def stop_if_cancelled(*_: object) -> None:
    management.throw_exception_if_processing_interrupted()


def phase(name: str, total: int) -> Phase:
    """Work of `total` parts on the node that runs now: a callback, once a part.

    It moves the bar, says on the node and in the log what is left, and ends a cancelled job. The
    host may end it anywhere else; the node then says where that was.
    """
    bar = comfy.utils.ProgressBar(total)
    made = Phase(name, total, Shown(stop_if_cancelled, bar.update_absolute, _text))
    when_stopped(made.stop)
    return made


def one_forward(name: str):
    """A callback (done, total) for one forward after another, below a sampler with a bar."""
    now: list[Phase] = []

    def on_part(done: int, total: int) -> None:
        if not now or done <= now[0].done:
            shown = Shown(stop_if_cancelled, lambda done, total, preview: None, _text)
            now[:] = [Phase(name, total, shown)]
            when_stopped(now[0].stop)
        now[0].reach(done)

    return on_part


def each_block(on_part: Callable[[int, int], None]):
    """A wrapper of the host's own forward: `on_part(done, total)` after each of its blocks, so that
    a step of minutes tells its way and can be cancelled. Compiled blocks are left alone."""

    def wrapper(executor, *args, **kwargs):
        blocks = executor.class_obj.blocks
        hooks = []
        if not any(hasattr(block, "_orig_mod") for block in blocks):
            for n, block in enumerate(blocks):
                hooks.append(
                    block.register_forward_hook(lambda *_, n=n: on_part(n + 1, len(blocks)))
                )
        try:
            return executor(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()

    return wrapper


def sampling(model, name: str, steps: int) -> tuple[Steps, Any]:
    """-> the steps of a sampler, and the callback that the host's samplers call after each."""
    told = Steps(phase(name, STEP * steps), steps)
    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def callback(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
        preview = None
        if previewer is not None:
            preview = previewer.decode_latent_to_preview_image("JPEG", sheet(x0, _room(previewer)))
        told.finished(step + 1, preview)

    return told, callback


def _room(previewer) -> int:
    """Longest side in latents: one pixel each where colours are read off them, else eight."""
    cheap = isinstance(previewer, latent_preview.Latent2RGBPreviewer)
    return latent_preview.MAX_PREVIEW_RESOLUTION // (1 if cheap else 8)


def _text(text: str) -> None:
    """Onto the node that runs now. Without a server nobody has loaded its module: nowhere."""
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    context = get_executing_context()
    if server is not None and context is not None:
        server.send_progress_text(text, context.node_id, server.client_id)
