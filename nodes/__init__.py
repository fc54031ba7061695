"""ComfyUI nodes: a V3 schema and a few lines each.

Only `host` and the files named host_* meet the host.
"""

from . import (
    compare,
    decode,
    decode_video,
    guide,
    patch,
    plan,
    prompt,
    proxy,
    sampler,
    text,
    video_proxy,
)

NODES = (
    plan.VideoPlanNode,
    proxy.SemanticProxyGenerator,
    video_proxy.VideoToProxy,
    guide.ScaledRoPEAligner,
    patch.LocalityPreservingPatch,
    sampler.DetailJointSampler,
    decode.TiledVAEDecode,
    decode_video.TiledVAEDecodeToVideo,
    compare.CompareVideos,
    prompt.TinyPrompt,
    text.CachedTextEncode,
    text.LoadConditioning,
)
