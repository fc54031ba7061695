"""VideoToProxy: any video, read and encoded a few frames at a time, becomes the proxy."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..atlasvid_core.proxy_video import RATES, check_length, proxy_frames, taken
from ..atlasvid_core.sound import Sound, heard
from ..atlasvid_core.tiles import TilePlan
from ..atlasvid_core.video_source import FileSource, ImageSource, Source
from . import host, host_vae
from .decoding import disk_errors, ever_smaller
from .enlarge import TIME_SCALE
from .host_progress import stop_if_cancelled
from .ladder import climb_down
from .sockets import CATEGORY, FPS_TIP, PLAN_TIP, PROXY_FPS_TIP, Plan, search
from .timing import timed

NODE = "VideoToProxy"
REMEDY = "Close what else uses the device, or take a smaller proxy_height in VideoPlan."


class VideoToProxy(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidVideoToProxy",
            display_name=NODE,
            category=CATEGORY,
            **search("upscale video", "enlarge video", "video to latent", "vae encode video"),
            description="Makes any video the proxy, in place of stage 1: reads, scales and encodes "
            "it a few frames at a time, so that memory follows neither its length nor its size. "
            "Its sound and frame rate are passed on for the large video.",
            inputs=[
                io.Video.Input(
                    "video", tooltip="The video to make larger, of any size and length."
                ),
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE."),
                Plan.Input("plan", tooltip=PLAN_TIP),
                io.Combo.Input(
                    "rate", options=list(RATES), default="video",
                    tooltip="video: every frame counts, and the large video has the frame rate of "
                    "this one. plan: frames are taken by their time at the plan's fps, and dropped "
                    "or repeated for it.",
                ),
                io.Float.Input(
                    "start", default=0.0, min=0.0, max=86400.0, step=0.01,
                    tooltip="Where in the video to begin, in seconds.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    "proxy", display_name="proxy",
                    tooltip="For ScaledRoPEAligner and DetailJointSampler.",
                ),
                io.Audio.Output(
                    "audio", display_name="audio",
                    tooltip="The sound of the part that is taken, for TiledVAEDecodeToVideo; "
                    "nothing if the video has none.",
                ),
                io.Float.Output("fps", display_name="fps", tooltip=FPS_TIP),
                io.Float.Output("proxy_fps", display_name="proxy_fps", tooltip=PROXY_FPS_TIP),
            ],
        )  # fmt: skip

    @classmethod
    @timed
    def execute(cls, video, vae, plan, rate="video", start=0.0) -> io.NodeOutput:
        source = source_of(video, start)
        wanted = taken(plan, source, rate)
        check_length(source, plan, wanted, stop_if_cancelled)
        sound = source.sound(plan.frames_px / wanted.fps)
        module, tiles = host_vae.load_to_encode(vae, plan.proxy_lat, NODE)

        def encode(tiles: TilePlan) -> Tensor:
            frames = proxy_frames(source, plan, wanted, stop_if_cancelled)
            return host_vae.encode(vae, frames, plan.proxy_lat, tiles)

        with disk_errors(NODE, host.temporary_folder(), goes_on=False):
            samples = climb_down(ever_smaller(module, tiles, encodes=True), encode, NODE, REMEDY)
        audio = sound and {"waveform": sound.samples_CS[None], "sample_rate": sound.rate}
        proxy = {"samples": samples, TIME_SCALE: plan.r_t}
        return io.NodeOutput(proxy, audio, wanted.fps, wanted.fps / plan.r_t)


def source_of(video, start_s: float) -> Source:
    """A VIDEO from `start_s` on: one of a file is read there, another lies in memory already."""
    if isinstance(video, InputImpl.VideoFromFile):
        part = getattr(video, "get_active_trim_window", None)  # not on 0.3.75
        begin_s, length_s = part() if part else (0.0, 0.0)
        left_s = length_s - start_s
        if length_s and left_s <= 0:
            raise ValueError(
                f"{NODE}: start is {start_s:g} s, the video is a part of {length_s:g} s of its "
                "file. Choose an earlier start."
            )
        return FileSource(video.get_stream_source(), begin_s + start_s, left_s if length_s else 0.0)
    parts = video.get_components()
    audio = parts.audio
    track = audio and Sound(heard(audio["waveform"][0]), int(audio["sample_rate"]))
    return ImageSource(parts.images, parts.frame_rate, track or None, start_s)
