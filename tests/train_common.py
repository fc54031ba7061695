"""A small real run for the trainer's tests: a random 2-layer base, clips of the tiny world."""

import torch
from safetensors.torch import save_file

from atlasvid_core.tiny.make_loras import WorldVideo
from atlasvid_core.tiny.words import FILES
from atlasvid_core.train import cache
from atlasvid_core.train.config import from_values
from atlasvid_core.train.text import text_encoder
from atlasvid_core.wan.dit import WanConfig, WanDiT

CPU = torch.device("cpu")
VIDEOS = 10


def values(folder, stage="guide", **train):
    """Settings of a run under `folder`, as a TOML file would hold them."""
    base = folder / "base.safetensors"
    if not base.exists():
        torch.manual_seed(0)
        save_file(WanDiT(WanConfig(128, 256, 2)).state_dict(), base)
    data = {
        "cache": str(folder / f"cache-{stage}"), "frames": 5, "height": 48, "width": 48,
        "proxy_height": [32, 48], "proxies": 2, "shard": 4, "held_out": 2, "text": "words",
        "text_tokens": 8, "r_t": [2],
    }  # fmt: skip
    if stage != "stage1":
        data |= {"r_t": [1, 2], "crops": True, "render_height": [64, 96], "group": 2}
    chosen = {
        "steps": 2, "batch": 2, "accumulate": 1, "precision": "no", "cpu": True, "rank": 4,
        "lr": 1e-2, "warmup": 1, "ema": 0.9, "shift": 2.0,
    }  # fmt: skip
    return {
        "stage": stage,
        "out": str(folder / "out"),
        "base": {
            "file": str(base), "dtype": "float32", "name": "random",
            "vae": str(FILES / "vae" / "atlasvid_tiny_vae.safetensors"),
        },
        "data": data,
        "attention": {"cube": [1, 2, 2]},
        "train": chosen | train,
        "log": {"line": 0, "save": 0, "validate": 0, "sample": 0, "tensorboard": False},
    }  # fmt: skip


def sources(count=VIDEOS, length=17):
    return [WorldVideo(i, length) for i in range(count)]


def cached(config, **options):
    """Build the config's cache where it is missing."""
    encode = cache.vae_encoder(config, CPU), text_encoder(config.data, CPU)
    said = []
    cache.build(config, options.pop("videos", sources()), *encode, say=said.append, **options)
    return said


def config_of(folder, stage="guide", log=None, out=None, **train):
    """A checked config whose cache is ready."""
    told = values(folder, stage, **train)
    told["log"] |= log or {}
    told["out"] = str(out or folder / "out")
    config = from_values(told)
    cached(config)
    return config


def randomised(student, seed=0):
    """Give the LoRAs values that matter: B starts at zero."""
    torch.manual_seed(seed)
    for p in student.trainable().values():
        p.data += 0.05 * torch.randn_like(p)
    return student
