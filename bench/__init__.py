"""Measurements of what the pack claims: `python dev.py bench NAME`.

A bench is a module with `rows(quick)` -> raw measurements as plain JSON values, `figures(rows)`
-> the figures that targets.toml holds a threshold for, computed from the rows alone, and if it has
a picture `plot(rows, path)`.
"""
