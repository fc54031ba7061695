"""CompareVideos in the real page: its player loads, wipes, steps, plays, and survives a reload."""

import pytest

from .compare_page import (
    NODE,
    PLAYER,
    SHOWN,
    STAGE,
    clock,
    grey,
    look,
    open_pair,
    shows,
)


@pytest.fixture(scope="module")
def page(chrome, server):
    page = open_pair(chrome, server)
    yield page
    page.close()


def test_the_wipe_shows_proxy_left_and_detail_right_and_follows_the_pointer(page):
    proxy, detail = grey("proxy", 0), grey("detail", 0)
    assert shows(page, {0.25: proxy, 0.4: proxy, 0.6: detail})
    box = page.locator(STAGE).bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], middle, steps=4)
    page.mouse.up()
    assert shows(page, {0.25: proxy, 0.4: detail, 0.6: detail})


def test_steps_show_the_frames_of_the_same_time(page):
    page.locator(".atlasvid-compare").focus()
    page.keyboard.press("Home")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert clock(page) == "frame 7/17 · proxy 2/5"
    assert shows(page, {0.2: grey("proxy", 1), 0.6: grey("detail", 6)})
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert shows(page, {0.2: grey("proxy", 0), 0.6: grey("detail", 3)})
    page.keyboard.press("End")
    assert shows(page, {0.2: grey("proxy", 4), 0.6: grey("detail", 16)})


def test_modes_show_the_difference_or_one_video(page):
    page.keyboard.press("Home")
    proxy, detail = grey("proxy", 0), grey("detail", 0)
    for want in (proxy - detail, proxy, detail):  # difference, proxy, detail
        page.keyboard.press("m")
        assert shows(page, {0.2: want, 0.6: want})
    page.keyboard.press("m")
    assert shows(page, {0.2: proxy, 0.6: detail})


@pytest.mark.parametrize("name, value", [("mode", "detail"), ("speed", "0.5"), ("speed", "1")])
def test_arrows_after_a_choice_from_a_list_step_frames(page, name, value):
    page.locator(".atlasvid-compare").focus()
    page.keyboard.press("Home")
    chosen = page.locator(f".atlasvid-compare select.{name}")
    chosen.focus()
    chosen.select_option(value)
    page.keyboard.press("ArrowRight")
    assert (clock(page)[:7], chosen.input_value()) == ("frame 2", value)
    page.evaluate(f"{PLAYER}.setMode('wipe')")


def test_wheel_and_keys_zoom(page):
    zoom = f"{PLAYER}.view.zoom"
    box = page.locator(STAGE).bounding_box()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"{zoom} > 1.5")
    x = page.evaluate(f"{PLAYER}.view.x")
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=3)
    page.mouse.up()
    assert page.evaluate(f"{PLAYER}.view.x") < x - 20
    page.keyboard.press("0")
    assert page.evaluate(zoom) == 1


def test_playing_keeps_both_videos_together(page):
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.wait_for_function(f"{PLAYER}.pair.frame >= 8")
    page.keyboard.press(" ")
    frame, proxy = page.evaluate(f"[{PLAYER}.pair.frame, {PLAYER}.pair.proxyFrame()]")
    assert proxy == frame // 4
    assert shows(page, {0.2: grey("proxy", proxy), 0.6: grey("detail", frame)})


def test_a_job_run_again_keeps_frame_and_zoom(page):
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    page.evaluate(f"{PLAYER}.load({{...{PLAYER}.facts}})")
    page.wait_for_function(SHOWN)
    assert clock(page) == "frame 2/17 · proxy 1/5"
    assert page.evaluate(f"{PLAYER}.view.zoom") == 1.5
    assert page.locator(".atlasvid-compare .tag.right").text_content() == "detail 256 × 128"
    page.keyboard.press("0")


@pytest.mark.parametrize(
    "status, words", [(404, "is no longer there"), (403, "is not given out by the server"),
                      (None, "the server does not answer")],
)  # fmt: skip
def test_a_video_that_does_not_open_says_why(page, status, words):
    answer = (lambda route: route.fulfill(status=status)) if status else (lambda r: r.abort())
    page.evaluate(f"window.atlasvidShown = {PLAYER}.facts")
    page.route("**/view?**nowhere**", answer)
    lost = "{...window.atlasvidShown, proxy: {...window.atlasvidShown.proxy, filename: 'nowhere'}}"
    page.evaluate(f"{PLAYER}.load({lost})")
    message = page.locator(".atlasvid-compare .message")
    assert message.text_content().startswith("nowhere ") and words in message.text_content()
    page.unroute("**/view?**nowhere**")
    page.evaluate(f"{PLAYER}.load(window.atlasvidShown)")
    page.wait_for_function(SHOWN)
    page.ours.clear()  # the page complains of the video, as it should


def test_a_reloaded_page_shows_the_pair_and_the_footer_again(page):
    page.wait_for_timeout(600)  # the page keeps its workflow a moment after a change
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(SHOWN, timeout=60_000)
    look(page)
    assert clock(page) == "frame 1/17 · proxy 1/5"
    assert page.evaluate(f"{NODE}.atlasvidTime.seconds") >= 0
    assert shows(page, {0.25: grey("proxy", 0), 0.75: grey("detail", 0)})
    assert page.ours == []


def test_player_and_footer_are_there_where_nodes_are_elements_of_the_page(page):
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, True)
    try:
        page.wait_for_function(
            "document.querySelector('.atlasvid-compare .stage')?.clientHeight > 99"
        )
        page.locator(".lg-node .atlasvid-footer").wait_for(timeout=10_000)
        assert " s" in page.locator(".lg-node .atlasvid-footer").text_content()
    finally:
        page.evaluate(switch, False)
