import runpy
import sys
from pathlib import Path

if not __package__:  # run by its folder's path, as `python -I` must: -m looks in no folder there
    sys.path[0:0] = [str(Path(__file__).resolve().parents[1])]
    runpy.run_module("atlasvid_batch", run_name="__main__", alter_sys=True)

from .cli import main

sys.exit(main())
