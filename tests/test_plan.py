"""Plans: what they complete, what they refuse, what they cost."""

from itertools import pairwise

import pytest

from atlasvid_core.attention.mask import REACHES, align, aligned_proxy, pair_count
from atlasvid_core.plan import ALIGNMENTS, VideoPlan, make_plan
from atlasvid_core.units import Grid

TABLE = [  # width, height, frames
    (1280, 720, 81),
    (2560, 1440, 321),
    (3840, 2160, 81),
    (3840, 2160, 161),
    (3840, 2160, 321),
    (7680, 4320, 29),
]


def plan(**changes):
    return make_plan(**{"width_px": 1280, "height_px": 720, "frames_px": 81, **changes})


def test_the_proxy_is_completed():
    made = plan(width_px=3840, height_px=2160, frames_px=321)
    assert (made.proxy_frames_px, made.proxy_height_px, made.proxy_width_px) == (81, 480, 848)
    assert made.target_tok == (81, 135, 240) and made.proxy_tok == (21, 30, 53)
    assert plan(frames_px=81).proxy_frames_px == 21
    assert plan(frames_px=29).proxy_frames_px == 9
    assert plan(frames_px=1).proxy_frames_px == 1
    assert plan(r_t=1).proxy_frames_px == 81


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"frames_px": 80}, "frames 80 .* 77 or 81"),
        ({"width_px": 1270}, "width 1270 .* 1264 or 1280"),
        ({"proxy_height_px": 490}, "height 490 .* 480 or 496"),
        ({"proxy_height_px": 736}, "larger than the target .* at most 720"),
        ({"cube_tok": Grid(0, 8, 8)}, "cube .0, 8, 8. .* at least 1"),
        ({"reach": "near"}, "'near' .* own, faces"),
        ({"alignment": "left"}, "'left' .* ratio, endpoints"),
        ({"r_t": 0.5}, "r_t 0.5 .* at least 1"),
        ({"fps": 0}, "fps 0 .* above 0"),
    ],
)
def test_refusals_name_value_limit_and_way_out(changes, says):
    with pytest.raises(ValueError, match=says):
        plan(**changes)


def test_attention_at_8k_costs_what_the_design_says():
    """DESIGN section 4 counts proxy tokens by density; by footprint it is up to 1.1 % more."""
    by_density = {"faces": 1675, "plane": 1262, "all": 471}
    by_footprint = {"faces": 1657, "plane": 1252, "all": 469}
    for reach, ratio in by_density.items():
        made = VideoPlan(7680, 4320, 81, 16, 4, 832, 480, 21, Grid(4, 8, 8), reach, "ratio")
        tokens, proxies = made.target_tok.count, made.proxy_tok.count
        assert made.proxy_tok == (6, 30, 52)
        local = pair_count(made.layout, reach)
        assert round(tokens**2 / (local * (1 + proxies / tokens))) == ratio
        assert round(made.attention_ratio()) == by_footprint[reach]


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("size", TABLE)
def test_every_cube_of_every_plan_is_guided(size, alignment):
    width, height, frames = size
    for r_t in (1, 3, 4, 8):
        made = plan(
            width_px=width, height_px=height, frames_px=frames, r_t=r_t, alignment=alignment
        )
        aligned = align(made.layout, made.proxy_axes())
        for axis, ranges in enumerate(aligned.ranges):
            assert len(ranges) == made.layout.n_cubes[axis]
            assert all(0 <= a < b <= made.proxy_tok[axis] for a, b in ranges)
            # the guide has no gaps: what neighbours see touches or overlaps
            assert all(a <= end for (_, end), (a, _) in pairwise(ranges))
        last = made.layout.n_cubes.count - 1
        for reach in REACHES:
            for cube in (0, last // 2, last):
                assert aligned_proxy(made.layout, reach, aligned, cube)


def test_the_summary_says_tokens_cost_and_guide():
    text = plan(width_px=3840, height_px=2160, frames_px=321).summary()
    for part in ("2,624,400 tokens", "10,710 cubes", "5.7 GiB (1.3B)", "25.5 GiB (14B)"):
        assert part in text
    assert len(text.splitlines()) == 4


def test_the_design_s_guide_sizes():
    small = VideoPlan(1280, 720, 81, 16, 1, 832, 480, 81, Grid(4, 8, 8), "faces", "ratio")
    assert small.guide_gib(1536, 30) == pytest.approx(5.6, abs=0.05)
    assert small.guide_gib(5120, 40) == pytest.approx(25, abs=0.1)
