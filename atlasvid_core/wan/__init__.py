"""Wan2.1's networks under Wan2.1's own weight names, for work without ComfyUI."""
