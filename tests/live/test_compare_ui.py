"""CompareVideos in the real page: its player loads, wipes, steps, plays, and survives a reload."""

import time

import cv2
import numpy as np
import pytest
import torch

from atlasvid_core.video_file import VideoFormat, write_video
from devtools.browser import open_page, settle
from devtools.graph_format import Graph, Link, Node, save_format

from .common import listen

FRAMES, PROXY_FRAMES, FPS, PROXY_FPS = 17, 5, 16, 4
NODE = "window.app?.graph?.nodes?.find((n) => n.type === 'AtlasVidCompare')"
PLAYER = f"{NODE}?.atlasvidPlayer"
SHOWN = f"{PLAYER}?.facts && {PLAYER}.e.message.hidden"
STAGE = ".atlasvid-compare .stage"


def grey(which: str, frame: int) -> int:
    return 16 + 12 * frame if which == "detail" else 230 - 40 * frame


def ramp(which: str, frames: int, side: int) -> torch.Tensor:
    """Frames [T, side, 2 side, 3], each of one grey that tells which it is."""
    levels = torch.tensor([grey(which, t) for t in range(frames)], dtype=torch.uint8)
    return levels.view(-1, 1, 1, 1).expand(-1, side, 2 * side, 3)


@pytest.fixture(scope="module")
def graph(server) -> dict:
    """Two loaded videos into the node; the detail's codec is one that browsers don't play."""
    videos = {"proxy": ("h264", PROXY_FRAMES, PROXY_FPS, 32), "detail": ("ffv1", FRAMES, FPS, 128)}
    for name, (codec, frames, fps, side) in videos.items():
        form = VideoFormat(codec, 8, fps, crf=4)
        write_video(server.base / "input" / f"{name}.mp4", [ramp(name, frames, side)], form)
    nodes = (
        Node("proxy", "LoadVideo", "Proxy", (20, 60), {"file": "proxy.mp4"}),
        Node("detail", "LoadVideo", "Detail", (20, 300), {"file": "detail.mp4"}),
        Node("compare", "AtlasVidCompare", "Compare", (420, 60),
             {"proxy": Link("proxy"), "detail": Link("detail")}, 700, 600),
    )  # fmt: skip
    return save_format(Graph("compare", nodes, (), ()), server.client.get("/object_info"))


@pytest.fixture(scope="module")
def page(chrome, server, graph):
    """The page with the node's two videos on show."""
    settle(server.base)
    page = open_page(chrome, server.base_url, 1400, 900)
    page.ours = listen(page)
    page.evaluate("(graph) => window.app.loadGraphData(graph)", graph)
    page.wait_for_function(PLAYER)
    page.evaluate("window.app.queuePrompt(0, 1)")
    page.wait_for_function(SHOWN, timeout=60_000)
    look(page)
    yield page
    page.close()


def look(page) -> None:
    """Brings the node into view."""
    page.evaluate("Object.assign(window.app.canvas.ds, { scale: 1, offset: [-300, 60] })")
    page.evaluate("window.app.canvas.setDirty(true, true)")
    page.locator(STAGE).wait_for(state="visible")
    page.wait_for_timeout(300)


def greys(page, *places: float) -> list[int]:
    """What a row of the stage shows at these parts of its width."""
    png = np.frombuffer(page.locator(STAGE).screenshot(), np.uint8)
    picture = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
    row = picture[int(0.6 * picture.shape[0])]  # below the divider's grip
    return [int(row[int(at * len(row))]) for at in places]


def shows(page, want: dict[float, int], patience_s: float = 10) -> bool:
    """Whether the stage comes to show these greys: a sought frame is painted a moment later."""
    end = time.monotonic() + patience_s
    while True:
        found = greys(page, *want)
        if max(abs(a - b) for a, b in zip(found, want.values(), strict=True)) <= 4:
            return True
        if time.monotonic() > end:
            print(f"the stage shows {found}, not {list(want.values())}")
            return False
        page.wait_for_timeout(100)


def clock(page) -> str:
    return page.locator(".atlasvid-compare .clock").text_content()


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
