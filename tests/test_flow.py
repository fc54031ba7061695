"""The flow's algebra, and Euler on velocities whose integrals are known."""

import pytest
import torch

from atlasvid_core import flow


def test_sigmas_fall_from_denoise_to_zero_and_shift_holds_the_ends():
    plain, shifted = flow.sigmas(10, shift=1.0), flow.sigmas(10, shift=8.0)
    assert torch.equal(plain, torch.linspace(1, 0, 11))
    assert shifted[0] == 1 and shifted[-1] == 0
    assert (shifted[1:-1] > plain[1:-1]).all() and (shifted.diff() < 0).all()
    assert flow.sigmas(4, shift=1.0, denoise=0.5)[0] == 0.5


def test_the_target_is_the_derivative_of_the_path():
    x0, noise = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    at = lambda sigma: flow.noised(x0, noise, torch.full((2,), sigma))  # noqa: E731
    slope = (at(0.6) - at(0.4)) / 0.2
    assert torch.allclose(slope, flow.velocity_target(x0, noise), atol=1e-6)
    assert torch.equal(at(0.0), x0) and torch.equal(at(1.0), noise)


def test_euler_is_exact_on_the_true_velocity_and_first_order_otherwise():
    x0, noise = torch.randn(5), torch.randn(5)
    levels = flow.sigmas(7, shift=3.0)
    assert torch.allclose(flow.euler(lambda x, s: noise - x0, noise, levels), x0, atol=1e-6)
    one = torch.ones(1, dtype=torch.float64)
    error = [
        abs(flow.euler(lambda x, s: x, one, flow.sigmas(n, 1.0)).item() - torch.e**-1)
        for n in (50, 100)
    ]
    assert error[0] / error[1] == pytest.approx(2, rel=0.05)


def test_on_step_sees_every_step_and_can_cancel():
    seen = []

    def cancel(step, x):
        seen.append(step)
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flow.euler(lambda x, s: x, torch.ones(1), flow.sigmas(9), cancel)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"steps": 3, "shift": 0.0}, {"steps": 3, "denoise": 0}]
)
def test_an_impossible_schedule_is_refused_with_its_values(bad):
    with pytest.raises(ValueError, match="steps .* shift .* denoise"):
        flow.sigmas(**bad)
