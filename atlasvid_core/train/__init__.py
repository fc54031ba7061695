"""Training of AtlasVid's LoRAs: `python -m atlasvid_core.train {cache,stage1,guide,refine}`."""
