"""AtlasVid-Tiny: a procedural world, and Wan2.1-shaped networks small enough to ship."""
