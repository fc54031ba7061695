"""AtlasVid as a ComfyUI node pack. The work is done in `atlasvid_core`; see README.md."""

from importlib.util import find_spec

# Test collectors import this file too: as a plain module, or as a package without the host.
if __package__ and find_spec("comfy_api"):
    from comfy_api.latest import ComfyExtension

    from .nodes import NODES, host, host_server, renamed

    WEB_DIRECTORY = "./web"

    class AtlasVidExtension(ComfyExtension):
        async def on_load(self) -> None:
            await renamed.register_replacements()

        async def get_node_list(self):
            return [*NODES, *map(renamed.twin, renamed.RENAMED)]

    async def comfy_entrypoint() -> AtlasVidExtension:
        host.register_tiny_files()
        host_server.register()
        return AtlasVidExtension()
