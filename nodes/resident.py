"""Weights of a layer on the device, LoRA patches worked in, once for all its calls.

Where a model does not fit the device, the host moves a module's weights and works in its LoRA
patches at every call. The detail branch calls each module once for every part of every slab, so
both are done once a layer here. Source: DESIGN section 4, "A layer's weights move once a step".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def resident(block: nn.Module, device: torch.device) -> Iterator[None]:
    """Until the context ends, parameters of `block` are on `device` and each patch runs once.

    The modules themselves, their dtypes and their way of casting stay the host's, so results are
    the same bit for bit. Modules that a newer host keeps in its own pages (`_v`) are left to it.
    """
    undo: list[Callable[[], None]] = []
    try:
        for module in block.modules():
            if getattr(module, "_v", None) is None:
                _move(module, device, undo)
                _patch_once(module, undo)
        yield
    finally:
        for put_back in reversed(undo):
            put_back()


def _move(module: nn.Module, device: torch.device, undo: list) -> None:
    parameters = module._parameters
    for name, param in list(parameters.items()):
        if param is not None and param.device != device:
            moved = param.detach().to(device, non_blocking=True)
            undo.append(lambda name=name, param=param: parameters.update({name: param}))
            parameters[name] = nn.Parameter(moved, requires_grad=False)


def _patch_once(module: nn.Module, undo: list) -> None:
    for name in ("weight_function", "bias_function"):
        functions = getattr(module, name, None)
        if functions:
            undo.append(lambda name=name, functions=functions: setattr(module, name, functions))
            setattr(module, name, [_Once(functions)])


class _Once:
    """Functions of a weight in a row, whose result is kept: a layer calls with one weight only."""

    def __init__(self, functions: list[Callable[[Tensor], Tensor]]) -> None:
        self.functions = functions
        self.kept: dict[torch.dtype, Tensor] = {}

    def __call__(self, weight: Tensor) -> Tensor:
        dtype = weight.dtype
        if dtype not in self.kept:
            for function in self.functions:
                weight = function(weight)
            self.kept[dtype] = weight
        return self.kept[dtype]
