"""Sizes, prompts and shortcuts that the tests of the nodes share."""

import torch

SIZES = {
    "width": 64, "height": 64, "frames": 13, "fps": 16.0, "r_t": 2.0, "proxy_height": 32,
    "cube_t": 2, "cube_h": 2, "cube_w": 2, "reach": "faces", "alignment": "ratio",
}  # fmt: skip
EULER = {
    "seed": 5, "steps": 3, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "shift": 3.0
}  # fmt: skip


def prompt(seed):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 6, 4096, generator=generator), {}]]


def proxy_of(nodes, model, plan, **options):
    options = EULER | {"cfg": 4.0} | options
    return nodes.SemanticProxyGenerator(model, prompt(1), prompt(2), plan, **options)


def guide_of(nodes, model, plan):
    return nodes.ScaledRoPEAligner(model, proxy_of(nodes, model, plan), plan)
