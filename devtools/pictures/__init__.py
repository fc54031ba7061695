"""Pictures of README and the help pages, drawn by scripts: `python -m devtools.pictures`."""
