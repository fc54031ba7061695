"""What dev.py is made of. Standard library only, but for `contact_sheet` (runs in .venv)."""
