"""How sure a mean is: bootstrap intervals, for one row of figures and for pairs of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Interval(NamedTuple):
    """A mean and where it lies with the given certainty."""

    mean: float
    low: float
    high: float


def bootstrap(
    values: Sequence[float] | Tensor, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """The mean of `values` (figures or truths, one a video) with its percentile interval.

    The same values give the same interval. Raises ValueError for none, or for NaN among them.
    """
    x = torch.as_tensor(values, dtype=torch.float64).flatten()
    if not len(x) or x.isnan().any():
        raise ValueError(f"{len(x)} values, {int(x.isnan().sum())} of them NaN, have no mean.")
    generator = torch.Generator().manual_seed(seed)
    pick = torch.randint(len(x), (resamples, len(x)), generator=generator)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = x[pick].mean(1).quantile(ends).tolist()
    return Interval(x.mean().item(), low, high)


def paired(
    ours: Sequence[float] | Tensor, theirs: Sequence[float] | Tensor, **settings
) -> Interval:
    """The mean difference `ours - theirs` of the same prompts and seeds, with its interval."""
    a, b = (torch.as_tensor(x, dtype=torch.float64).flatten() for x in (ours, theirs))
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are no pairs.")
    return bootstrap(a - b, **settings)
