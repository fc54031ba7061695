"""AtlasVid as a ComfyUI node pack. The work is done in `atlasvid_core`; see README.md."""

if __package__:  # test collectors also import this file, as a module without a package
    from comfy_api.latest import ComfyExtension

    from .nodes import NODES, host

    WEB_DIRECTORY = "./web"

    class AtlasVidExtension(ComfyExtension):
        async def get_node_list(self):
            return list(NODES)

    async def comfy_entrypoint() -> AtlasVidExtension:
        host.register_tiny_files()
        return AtlasVidExtension()
