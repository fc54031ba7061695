"""How fast a machine is, in the two figures that predictions of `cost` need.

Units: FLOPs (a multiply-add is 2) and bytes, a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Calibration:
    """What a machine does: FLOPs a second of a large matmul, bytes a second from host to device."""

    flops_per_second: float
    bytes_per_second: float


def calibrate(device: torch.device | str, seconds: float = 1.0) -> Calibration:
    """Measure a machine for about `seconds`: the median of several matmuls and of several copies.

    Matmuls are float32 on a CPU, bfloat16 elsewhere; copies go from host memory to `device`.
    """
    device = torch.device(device)
    cpu = device.type == "cpu"
    side, dtype = (1024, torch.float32) if cpu else (8192, torch.bfloat16)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    host = torch.ones(2**26, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there = torch.empty_like(host, device=device)
    wait = (lambda: None) if cpu else (lambda: torch.accelerator.synchronize(device))
    return Calibration(
        2 * side**3 / _median_seconds(lambda: torch.mm(a, b), wait, seconds / 2),
        host.numel() / _median_seconds(lambda: there.copy_(host), wait, seconds / 2),
    )


def _median_seconds(work: Callable, wait: Callable, seconds: float) -> float:
    """Median of at least 3 runs, as many as fit; the first one warms up and is not counted."""
    work()
    wait()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        began = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - began)
    return median(taken)
