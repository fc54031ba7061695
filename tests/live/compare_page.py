"""Two small videos in CompareVideos' player: what its tests ask of the page."""

import time

import cv2
import numpy as np
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


def compare_graph(server) -> dict:
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


def open_pair(chrome, server):
    """A page with the node's two videos on show; `.ours` hears errors of our files."""
    graph = compare_graph(server)
    settle(server.base)
    page = open_page(chrome, server.base_url, 1400, 900)
    page.ours = listen(page)
    page.evaluate("(graph) => window.app.loadGraphData(graph)", graph)
    page.wait_for_function(PLAYER)
    page.evaluate("window.app.queuePrompt(0, 1)")
    page.wait_for_function(SHOWN, timeout=60_000)
    look(page)
    return page


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
