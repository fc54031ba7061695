"""The pack's one door in ComfyUI's web server: POST /atlasvid/plan (see plan_route.py).

Beside host.py this file alone meets the server; it moves JSON in and out, and decides nothing.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from .host_machine import CALIBRATION, file_bytes, header, machine
from .plan_route import answer

PATH = "/atlasvid/plan"


def register() -> None:
    """Add the route. ComfyUI loads its server before any pack; a process without one (a test, a
    script) has no use for it."""
    server = sys.modules.get("server")
    instance = getattr(getattr(server, "PromptServer", None), "instance", None)
    if instance is None:
        return

    def idle() -> bool:
        return instance.prompt_queue.get_tasks_remaining() == 0

    @instance.routes.post(PATH)
    async def plan(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            return web.json_response({"error": "The body is no JSON."}, status=400)
        measuring = CALIBRATION.begin(idle)
        found = await asyncio.to_thread(answer, body, machine(), header, file_bytes)
        return web.json_response({**found, "measuring": measuring})
