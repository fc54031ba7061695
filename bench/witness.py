"""A witness of a running detail forward, and the oracle that its record is held to.

The witness listens through module hooks: in each layer the keys read the layer's input once, in
cube order, so that what passes `norm1` on its way to `k` is the hidden state, and a counter says
which tokens these are. What passes the head's norm is the last layer's output. Of all this only
chosen tokens are copied. The oracle computes a cube's whole block from them with a plain softmax
over all keys that it sees, in float64.

Shapes: S tokens of a cube, L tokens within its reach, G aligned proxy tokens, N heads, H head
size, C width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atlasvid_core.attention.dense import masked_softmax
from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import align, aligned_proxy, neighbours
from atlasvid_core.guide import Guide
from atlasvid_core.rope import axis_rotations, detail_axes, rotations_at
from atlasvid_core.wan.dit import WanDiT, time_features

States = dict[int, Tensor]  # cube -> its hidden state [S, C]


def tokens_of(layout: CubeLayout, cube: int) -> tuple[int, int]:
    """First token of a cube in cube order and the one past the last."""
    first = int(layout.starts()[cube])
    return first, first + int(layout.sizes()[cube])


class Witness:
    """Copies the hidden state of `cubes[i]` in front of layer i; the last entry is the output's.

    Use as a context manager around one forward with a batch of one.
    """

    def __init__(self, model: WanDiT, layout: CubeLayout, cubes: list[set[int]]) -> None:
        assert len(cubes) == len(model.blocks) + 1
        self.model = model
        self.tokens = layout.grid.count
        self.spans = [sorted((*tokens_of(layout, c), c) for c in chosen) for chosen in cubes]
        self.states: list[States] = [{} for _ in cubes]
        self._read = [0] * len(cubes)
        self._partial: list[dict[int, list[Tensor]]] = [{} for _ in cubes]
        self._hooks: list = []

    def __enter__(self) -> Witness:
        for i, block in enumerate(self.model.blocks):
            self._listen(block.norm1, block.self_attn.k, i)
        self._listen(self.model.head.norm, self.model.head.head, len(self.model.blocks))
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def _listen(self, norm: nn.Module, then: nn.Module, place: int) -> None:
        last: list[Tensor] = []

        def remember(_, inputs) -> None:
            last[:] = [inputs[0]]

        def take(*_) -> None:
            self._take(place, last.pop()[0])

        self._hooks += [
            norm.register_forward_pre_hook(remember),
            then.register_forward_pre_hook(take),
        ]

    def _take(self, place: int, x_SC: Tensor) -> None:
        begin, end = self._read[place], self._read[place] + len(x_SC)
        self._read[place] = end
        for first, past, cube in self.spans[place]:
            if first < end and past > begin:  # parts hold whole cubes, but nothing here needs it
                piece = x_SC[max(0, first - begin) : past - begin].clone()
                pieces = self._partial[place].setdefault(cube, [])
                pieces.append(piece)
                if past <= end:
                    self.states[place][cube] = torch.cat(pieces)

    def check_complete(self) -> None:
        """Every layer read every token once, and each chosen cube was seen."""
        assert self._read == [self.tokens] * len(self._read), self._read
        for spans, states in zip(self.spans, self.states, strict=True):
            assert {cube for _, _, cube in spans} == states.keys()


@dataclass(frozen=True, eq=False)
class Oracle:
    """Blocks of the joint form for a single cube, from the hidden state around it.

    `model`, `time` [1, 6, C] and `text` [1, L, C] (both embedded) are float64.
    """

    model: WanDiT
    layout: CubeLayout
    reach: str
    guide: Guide
    time: Tensor
    text: Tensor

    @staticmethod
    def of(model: WanDiT, layout, reach: str, guide: Guide, timestep, text: Tensor) -> Oracle:
        """From what a detail forward is given; the model is copied."""
        model = copy.deepcopy(model).double()
        features = model.time_embedding(time_features(timestep).double())
        time = model.time_projection(features).unflatten(1, (6, -1))
        return Oracle(model, layout, reach, guide, time, model.text_embedding(text.double()))

    def block(self, layer: int, cube: int, states: States) -> Tensor:
        """-> the layer's output [S, C] for `cube`, float64."""
        block = self.model.blocks[layer]
        attn, tables = block.self_attn, axis_rotations(detail_axes(self.layout.grid))
        modulation = (block.modulation + self.time).split(1, dim=1)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation

        def normed(number: int) -> Tensor:
            return block.norm1(states[number].double()[None]) * (1 + scale1) + shift1

        def turned(x_1SC: Tensor, number: int) -> Tensor:
            places = self.layout.order()[slice(*tokens_of(self.layout, number))]
            return _rotate(attn.split(x_1SC), rotations_at(tables, places))

        near = neighbours(self.layout, cube, self.reach)
        proxies = aligned_proxy(self.layout, self.reach, align(self.layout, self.guide.axes), cube)
        keys = [turned(attn.norm_k(attn.k(normed(n))), n) for n in near]
        values = [attn.split(attn.v(normed(n))) for n in near]
        keys.append(self.guide.keys[layer][:, proxies].double())
        values.append(self.guide.values[layer][:, proxies].double())
        x, k, v = states[cube].double()[None], torch.cat(keys, dim=1), torch.cat(values, dim=1)
        q = turned(attn.norm_q(attn.q(normed(cube))), cube)
        everyone = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool)
        x = x + gate1 * attn.o(masked_softmax(q, k, v, everyone).flatten(2))
        x = x + block.cross_attn(block.norm3(x), self.text)
        return (x + gate2 * block.ffn(block.norm2(x) * (1 + scale2) + shift2))[0]


def _rotate(x_BSNH: Tensor, rotation: Tensor) -> Tensor:
    """As `rope.rotate`, which rounds to float32."""
    x = torch.view_as_complex(x_BSNH.unflatten(-1, (-1, 2)).contiguous())
    turn = torch.view_as_complex(rotation.double().contiguous())
    return torch.view_as_real(x * turn[:, None]).flatten(-2)


def error(got: Tensor, want: Tensor, before: Tensor) -> float:
    """Largest difference, in units of the largest change that the layer made to these tokens."""
    return float((got.double() - want).abs().max() / (want - before.double()).abs().max())
