"""The shipped workflows, each described once; `make_workflows` writes the files."""

from __future__ import annotations

from dataclasses import dataclass

from .graph_format import Graph, Group, Link, Node, Note

HUB = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/"
DIT, TEXT, VAE = (
    "wan2.1_t2v_1.3B_fp16.safetensors",
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "wan_2.1_vae.safetensors",
)
NEGATIVE = "blurry, distorted, flickering, still picture, text, watermark, low quality"
PROMPT = (
    "One continuous aerial shot over a mountain lake at dawn: mist lifts off the water, pine "
    "forests on both shores, first sunlight on snowy peaks, slow forward camera, fine detail"
)
# One line a paragraph: the page swallows line breaks within them.
LORA_NOTE = (
    "## Without and with LoRAs\n"
    "This graph runs with the public Wan2.1 files alone, the **training-free** way: its LoRA "
    "loaders are bypassed (violet), and stage 2 starts from the enlarged proxy (*start: proxy*, "
    "*denoise* below 1).\n\n"
    "What trained LoRAs add:\n"
    "- **stage 1**: a proxy whose 81 frames span 20 seconds at the right speed (r_t 4);\n"
    "- **proxy LoRA** and **detail LoRA**: stage 2 learns to read the guide, so it can start from "
    "pure noise (*start: noise*) and make detail that the proxy does not hold.\n\n"
    "None are public. The paper trains them at 720p with rank 16 on q, k, v, o and FFN (proxy) "
    "and q, k, v (detail), AdamW 1e-4, 15,000 steps. Put the files into `models/loras`, choose "
    "them in the loaders and un-bypass these (Ctrl+B)."
)


@dataclass(frozen=True)
class Job:
    name: str
    title: str
    width: int
    height: int
    frames: int
    r_t: float
    note: str


PLAN, STAGE_1, STAGE_2, FRAMES, LAST = 400, 910, 1310, 1710, 2110  # where columns begin
# Below each of our nodes there is room for a line of progress, its footer and the next title; below
# the samplers for a preview, too, where those are on.
SAVED_PX = 440  # of SaveVideo, with the picture that it shows
GREEN, OCHRE, PURPLE, BLUE, VIOLET = "#8a5", "#b58b2a", "#a1309b", "#37a", "#66519c"

JOBS = (
    Job("t2v_4k_161f", "4K, 161 frames (10 s)", 3840, 2160, 161, 2.0,
        "10 seconds at 16 fps; with r_t 2 its proxy has the 81 frames that Wan2.1 was trained on."),
    Job("t2v_4k_321f", "4K, 321 frames (20 s)", 3840, 2160, 321, 4.0,
        "20 seconds at 16 fps: 2.6 million tokens. An IMAGE of it is 32 GB of RAM."),
    Job("t2v_2k_321f", "2K, 321 frames (20 s)", 2560, 1440, 321, 4.0, "20 seconds at 16 fps."),
    Job("t2v_8k_29f", "8K, 29 frames", 7680, 4320, 29, 1.0,
        "Two seconds at 16 fps; so short that the proxy keeps every frame (r_t 1)."),
)  # fmt: skip


def all_graphs() -> tuple[Graph, ...]:
    return (tiny_demo(), *(text_to_video(job) for job in JOBS), upscale())


def tiny_demo() -> Graph:
    prompt = "a red ball crosses right under a day sky"
    nodes = (
        Node("dit", "UNETLoader", "Load the tiny model", (0, 60),
             {"unet_name": "atlasvid_tiny.safetensors"}, height_px=90),
        Node("vae", "VAELoader", "Load the tiny VAE", (0, 200),
             {"vae_name": "atlasvid_tiny_vae.safetensors"}, height_px=66),
        Node("words", "AtlasVidTinyPrompt", "Prompt", (0, 320), {"text": prompt}, height_px=200),
        Node("empty", "AtlasVidTinyPrompt", "Negative (empty)", (0, 590), {"text": ""},
             height_px=180),
        _plan({"width": 192, "height": 192, "frames": 33, "fps": 16.0, "r_t": 4.0,
               "proxy_height": 96, "cube_t": 1, "cube_h": 2, "cube_w": 2}),
        *(_lora(f"{role}_lora", title, f"atlasvid_tiny_{role}.safetensors", (0, y), bypassed=False)
          for role, title, y in (("stage1", "Stage-1 LoRA", 960), ("proxy", "Proxy LoRA", 1120),
                                 ("detail", "Detail LoRA", 1280))),
        *_stage_1("stage1_lora", "words", "empty", steps=40, cfg=1.5, shift=2.0),
        *_stage_2("proxy_lora", "detail_lora", Link("words", 1), steps=24, denoise=0.5, shift=2.0),
        *_videos("tiny"),
    )  # fmt: skip
    note = Note(
        "## The whole chain on a laptop\nPress **Run**: seconds to a minute without a GPU. Then "
        "change the words of **Prompt**: a *ball, box* or *diamond* that is *red, orange, yellow, "
        "green, cyan, blue, purple* or *white* crosses *right* or *left* under a *dawn, day, dusk* "
        "or *night* sky. Another *seed* of stage 1 is another take.\n\nStage 1 makes the whole "
        "clip small and at a quarter of the frame rate; stage 2 makes it full size, each cube "
        "seeing its neighbours and its own part of the proxy. Its words are those of a closeup, "
        "since a cube is a part of a larger picture. At the far right both videos are compared."
        "\n\nPreviews, where they are on, show its latents in Wan2.1's colours, not its own.",
        (PLAN, 930),
        (440, 280),
    )
    return Graph("tiny_demo", nodes, (note,), (*_groups(), LORAS))


def text_to_video(job: Job) -> Graph:
    nodes = (
        *_loaders(),
        Node("positive", "AtlasVidCachedTextEncode", "Prompt", (0, 480), {"clip": Link("clip"),
             "text": PROMPT}, height_px=180),
        Node("negative", "AtlasVidCachedTextEncode", "Negative prompt", (0, 720),
             {"clip": Link("clip"), "text": NEGATIVE}, height_px=140),
        _plan({"width": job.width, "height": job.height, "frames": job.frames, "r_t": job.r_t}),
        _lora("stage_1_lora", "Stage-1 LoRA", "atlasvid_stage1.safetensors", (0, 960)),
        _lora("proxy_lora", "Proxy LoRA", "atlasvid_proxy.safetensors", (0, 1120)),
        _lora("detail_lora", "Detail LoRA", "atlasvid_detail.safetensors", (0, 1280)),
        *_stage_1("stage_1_lora", "positive", "negative", steps=30, cfg=6.0, shift=8.0),
        *_stage_2("proxy_lora", "detail_lora", "positive", steps=30, denoise=0.6, shift=8.0),
        *_videos(job.name),
    )  # fmt: skip
    notes = (
        Note(f"## {job.title}\n{job.note}\n\nThe plan's panel says what it takes, and what to "
             "change where it does not fit. The proxy is saved first: look at it while stage 2 "
             "runs.",
             (PLAN, 930), (440, 150)),
        Note(LORA_NOTE, (PLAN, 1110), (440, 420)),
    )  # fmt: skip
    return Graph(job.name, nodes, notes, (*_groups(), LORAS))


def upscale() -> Graph:
    frames = 81
    nodes = (
        *_loaders(),
        Node("positive", "AtlasVidCachedTextEncode", "Prompt", (0, 480), {"clip": Link("clip"),
             "text": "Say what the video shows: " + PROMPT}, height_px=180),
        _plan({"width": 3840, "height": 2160, "frames": frames, "r_t": 1.0}),
        _lora("proxy_lora", "Proxy LoRA", "atlasvid_proxy.safetensors", (0, 1500)),
        _lora("detail_lora", "Detail LoRA", "atlasvid_detail.safetensors", (0, 1660)),
        # newer pages make it as tall as a video in portrait needs: nothing lies below it
        Node("file", "LoadVideo", "The video", (0, 720), {"file": "video.mp4"}, height_px=300),
        Node("proxy", "AtlasVidVideoToProxy", "The video is the proxy", (STAGE_1, 60),
             {"video": Link("file"), "vae": Link("vae"), "plan": Link("plan")}),
        *_stage_2("proxy_lora", "detail_lora", "positive", steps=30, denoise=0.5, shift=8.0),
        *_videos("4k", fps_at=2, proxy_at_px=400, audio=Link("proxy", 1)),
    )  # fmt: skip
    notes = (
        Note(f"## Any video to 4K\nIts first {frames} frames become the proxy (r_t 1: it keeps "
             "every frame); *start* takes a later part. For another length set *frames* of the "
             "plan, to 4k + 1. It is read a few frames at a time, so it may be long and large.\n\n"
             "It is cut to the plan's shape, around the middle: for a video in portrait, press ▮ "
             "in the plan's panel. The proxy is saved before stage 2 begins: look at it. The "
             "prompt should say what it shows.", (PLAN, 930), (440, 250)),
        Note(LORA_NOTE, (PLAN, 1220), (440, 420)),
    )  # fmt: skip
    groups = (
        _column("Files and words", 0, 1420),
        _column("The proxy", STAGE_1, 1300, GREEN),
        _column("Stage 2: the detail", STAGE_2, 1360, OCHRE),
        _column("Frames", FRAMES, 960, PURPLE),
        COMPARE,
        Group("LoRAs", (-20, 1430, 370, 380), VIOLET),
    )
    return Graph("upscale_to_4k", nodes, notes, groups)


def _loaders() -> tuple[Node, ...]:
    def model(name: str, folder: str) -> tuple[dict[str, str], ...]:
        return ({"name": name, "url": HUB + f"{folder}/{name}", "directory": folder},)

    return (
        Node("dit", "UNETLoader", "Load Wan2.1", (0, 60), {"unet_name": DIT},
             models=model(DIT, "diffusion_models"), height_px=90),
        Node("clip", "CLIPLoader", "Load umt5", (0, 190), {"clip_name": TEXT, "type": "wan"},
             models=model(TEXT, "text_encoders"), height_px=114),
        Node("vae", "VAELoader", "Load the VAE", (0, 350), {"vae_name": VAE},
             models=model(VAE, "vae"), height_px=66),
    )  # fmt: skip


def _lora(name: str, title: str, file: str, at: tuple[int, int], bypassed: bool = True) -> Node:
    inputs = {"model": Link("dit"), "lora_name": file, "strength_model": 1.0}
    return Node(name, "LoraLoaderModelOnly", title, at, inputs, bypassed=bypassed)


def _plan(inputs: dict) -> Node:
    """As tall as its panel makes it, so that nothing lies under it."""
    return Node("plan", "AtlasVidPlan", "Plan", (PLAN, 60), inputs, width_px=440, height_px=800)


def _stage_1(model: str, positive: str, negative: str, *, steps, cfg, shift) -> tuple[Node, ...]:
    inputs = {
        "model": Link(model), "positive": Link(positive), "negative": Link(negative),
        "plan": Link("plan"), "seed": 1, "steps": steps, "cfg": cfg, "shift": shift,
    }  # fmt: skip
    return (
        Node("proxy", "AtlasVidSemanticProxyGenerator", "Stage 1: the proxy", (STAGE_1, 60),
             inputs),
    )  # fmt: skip


def _stage_2(
    proxy_model: str, detail_model: str, positive: str | Link, *, steps, denoise, shift
) -> tuple[Node, ...]:
    words = Link(positive) if isinstance(positive, str) else positive
    return (
        Node("guide", "AtlasVidScaledRoPEAligner", "The guide", (STAGE_2, 60),
             {"model": Link(proxy_model), "proxy": Link("proxy"), "plan": Link("plan")}),
        Node("patch", "AtlasVidLocalityPreservingPatch", "Local, guided attention", (STAGE_2, 360),
             {"model": Link(detail_model), "plan": Link("plan"), "guide": Link("guide")}),
        Node("detail", "AtlasVidDetailJointSampler", "Stage 2: the detail", (STAGE_2, 610),
             {"model": Link("patch"), "plan": Link("plan"), "positive": words,
              "proxy": Link("proxy"), "vae": Link("vae"), "seed": 1, "steps": steps, "cfg": 1.0,
              "shift": shift, "start": "proxy", "denoise": denoise}),
    )  # fmt: skip


def _videos(
    prefix: str, fps_at: int = 1, proxy_at_px: int = 720, **sound: Link
) -> tuple[Node, ...]:
    """Both videos, saved and compared. The proxy's node tells both rates, from output `fps_at` on:
    whatever becomes of fps and r_t, both videos keep the same time."""
    fps, proxy_fps = Link("proxy", fps_at), Link("proxy", fps_at + 1)
    return (
        Node("proxy_video", "AtlasVidTiledVAEDecodeToVideo", "Proxy video", (STAGE_1, proxy_at_px),
             {"vae": Link("vae"), "samples": Link("proxy"), "fps": proxy_fps, **sound}),
        Node("save_proxy", "SaveVideo", "Save the proxy", (STAGE_1, proxy_at_px + 420),
             {"video": Link("proxy_video"), "filename_prefix": f"video/atlasvid_{prefix}_proxy"},
             height_px=SAVED_PX),
        Node("video", "AtlasVidTiledVAEDecodeToVideo", "Video", (FRAMES, 60),
             {"vae": Link("vae"), "samples": Link("detail"), "fps": fps, **sound}),
        Node("save", "SaveVideo", "Save the video", (FRAMES, 480),
             {"video": Link("video"), "filename_prefix": f"video/atlasvid_{prefix}"},
             height_px=SAVED_PX),
        Node("compare", "AtlasVidCompare", "Proxy and detail", (LAST, 60),
             {"proxy": Link("proxy_video"), "detail": Link("video")}, width_px=760, height_px=600),
    )  # fmt: skip


def _column(title: str, x: int, height: int, color: str = "#3f789e", width: int = 370) -> Group:
    return Group(title, (x - 20, -10, width, height), color)


COMPARE = _column("Compare", LAST, 720, BLUE, width=800)
LORAS = Group("LoRAs", (-20, 890, 370, 510), VIOLET)


def _groups() -> tuple[Group, ...]:
    return (
        _column("Files and words", 0, 880),
        _column("Stage 1: the proxy", STAGE_1, 1620, GREEN),
        _column("Stage 2: the detail", STAGE_2, 1360, OCHRE),
        _column("Frames", FRAMES, 960, PURPLE),
        COMPARE,
    )
