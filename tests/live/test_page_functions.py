"""What our page code computes, asked of it in the page: times in words, frames that belong
together, zoom and pan, outputs of earlier jobs."""

import json

import pytest

DETAIL = {"frames": 321, "fps": 16}
PROXY = {"frames": 81, "fps": 4}
STAGE, PICTURE = {"width": 800, "height": 600}, {"width": 3840, "height": 2160}


@pytest.fixture(scope="module")
def ask(canvas):
    """`ask("compare/time.js", "frameAt", 1.5, {...})`: a function of one of our modules."""

    def ask(module, function, *values):
        call = f"import('/extensions/atlasvid/{module}').then((m) => m.{function}(...values))"
        return canvas.page.evaluate(f"(values) => {call}", list(values))

    return ask


@pytest.mark.parametrize(
    "seconds, words",
    [(0.04, "<0.1 s"), (12.34, "12.3 s"), (59.97, "1:00 min"), (75, "1:15 min"),
     (3599.6, "1:00 h"), (4000, "1:07 h"), (90061, "25:01 h")],
)  # fmt: skip
def test_durations_in_words(ask, seconds, words):
    assert ask("timing.js", "duration", seconds) == words


def test_a_footer_says_less_where_there_is_less_room(ask):
    time = {"seconds": 75, "parts": {"start": 15, "sampling": 60, "guide": 0.01},
            "peak_bytes": 3 * 2**30, "of": "device"}  # fmt: skip
    words = {"peak": "peak", "start": "start", "sampling": "sampling", "kept": "kept"}
    full, short, least = ask("timing.js", "texts", time, False, words)
    assert full == "1:15 min  ·  start 15.0 s, sampling 1:00 min  ·  peak 3.0 GiB VRAM"
    assert short == "1:15 min  ·  peak 3.0 GiB VRAM"
    assert least == "1:15 min"
    assert ask("timing.js", "texts", time, True, words)[2] == "1:15 min (kept)"


def test_partners_by_time_and_by_ends(ask):
    def partners(frames, match, other=PROXY):
        return [ask("compare/time.js", "partner", f, DETAIL, other, match) for f in frames]

    assert partners([0, 3, 4, 7, 37, 320], "time") == [0, 0, 1, 1, 9, 80]
    wrong = {"frames": 81, "fps": 16}  # a proxy saved at the detail's rate
    assert partners([0, 160, 320], "time", wrong) == [0, 80, 80]
    assert partners([0, 160, 320], "ends", wrong) == [0, 40, 80]
    assert ask("compare/time.js", "rateOf", DETAIL, wrong, "ends") == 0.25
    assert ask("compare/time.js", "rateOf", DETAIL, PROXY, "time") == 1


def test_every_frame_is_found_at_its_own_middle(ask):
    for video in (DETAIL, PROXY, {"frames": 100, "fps": 29.97}):
        for frame in range(0, video["frames"], 7):
            middle = ask("compare/time.js", "middleOf", frame, video)
            assert ask("compare/time.js", "frameAt", middle, video) == frame


def test_zoom_keeps_its_place_and_pan_its_bounds(ask):
    view = ask("compare/view.js", "whole", STAGE, PICTURE)
    assert view == {"zoom": 1, "x": 0, "y": 75}  # 800 x 450 in 800 x 600
    near = ask("compare/view.js", "zoomed", view, 4, {"x": 200, "y": 300}, STAGE, PICTURE)
    assert (200 - near["x"]) / 4 == pytest.approx(200 - view["x"])
    assert (300 - near["y"]) / 4 == pytest.approx(300 - view["y"])
    far = ask("compare/view.js", "settled", {"zoom": 4, "x": 500, "y": -9999}, STAGE, PICTURE)
    assert far == {"zoom": 4, "x": 0, "y": 600 - 4 * 450}
    back = ask("compare/view.js", "zoomed", near, 0.01, {"x": 0, "y": 0}, STAGE, PICTURE)
    assert back == view
    assert ask("compare/view.js", "actual", STAGE, PICTURE, 1) == 3840 / 800


def test_outputs_of_earlier_jobs_are_those_of_this_workflow(ask):
    def job(number, workflow, outputs):
        return {"prompt": [number, "id", {}, {"extra_pnginfo": {"workflow": {"id": workflow}}}],
                "outputs": outputs}  # fmt: skip

    history = {
        "a": job(1, "mine", {"5": "old", "6": "kept"}),
        "b": job(3, "another", {"5": "theirs"}),
        "c": job(2, "mine", {"5": "new"}),
        "d": {"prompt": [4, "id", {}, {}], "outputs": {"5": "from the API"}},
    }
    found = ask("outputs.js", "latestOutputs", history, "mine")
    assert json.dumps(found, sort_keys=True) == json.dumps({"5": "new", "6": "kept"})
