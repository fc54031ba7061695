"""An exponential average of the trained weights, in float32; what is saved and sampled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """decay 0 follows the weights exactly. Early on the average is shorter than `decay` says."""

    def __init__(self, weights: dict[str, nn.Parameter], decay: float) -> None:
        self.weights, self.decay = weights, decay
        self.average: dict[str, Tensor] = {n: p.detach().clone() for n, p in weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        decay = decay if self.decay else 0.0
        now = [p.detach() for p in self.weights.values()]
        torch._foreach_lerp_(list(self.average.values()), now, 1 - decay)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """The weights are the average for the time of the block, and the average is they."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, p in self.weights.items():
            p.data, self.average[name] = self.average[name], p.data
