"""AtlasVid without ComfyUI: plan -> proxy -> guide -> joint denoising -> decode.

Imports torch and never the host. Start reading at `plan`, then `guide` and `joint`.
"""
