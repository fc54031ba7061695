"""Many jobs for one or more running ComfyUI servers: `python -m atlasvid_batch --help`.

Needs nothing but Python (the contact sheet: Pillow and PyAV, which ComfyUI and the pack have).
"""
