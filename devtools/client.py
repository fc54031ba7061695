"""The client of a running ComfyUI, under the name that the tools know it by."""

from atlasvid_batch.client import Client, JobFailed, JobRefused, refusal

__all__ = ["Client", "JobFailed", "JobRefused", "refusal"]
