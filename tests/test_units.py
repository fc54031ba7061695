"""Pixels to latents to tokens, and the sizes that are refused."""

import pytest

from atlasvid_core.units import Grid, lat_from_px, tok_from_lat


@pytest.mark.parametrize(
    ("px", "tok"),
    [
        ((81, 720, 1280), (21, 45, 80)),
        ((321, 1440, 2560), (81, 90, 160)),
        ((161, 2160, 3840), (41, 135, 240)),
        ((321, 2160, 3840), (81, 135, 240)),
        ((29, 4320, 7680), (8, 270, 480)),
        ((1, 16, 16), (1, 1, 1)),
    ],
)
def test_the_sizes_of_the_table(px, tok):
    assert tok_from_lat(lat_from_px(*px)) == tok


def test_an_odd_side_counts_its_padded_half_patch():
    assert tok_from_lat(Grid(3, 7, 5)) == (3, 4, 3)


@pytest.mark.parametrize(
    ("px", "says"),
    [
        ((80, 720, 1280), "frames 80 .* Use 77 or 81"),
        ((0, 720, 1280), "frames 0 .* Use 1 or 5"),
        ((81, 730, 1280), "height 730 .* Use 720 or 736"),
        ((81, 720, 8), "width 8 .* Use 16 or 32"),
    ],
)
def test_sizes_that_do_not_fit_name_the_nearest_that_do(px, says):
    with pytest.raises(ValueError, match=says):
        lat_from_px(*px)
