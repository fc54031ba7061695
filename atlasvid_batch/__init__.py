"""A table of prompts and settings becomes jobs of one or more running ComfyUI servers.

Needs nothing but Python (the contact sheet: Pillow and PyAV, which ComfyUI and the pack have).
"""
