"""The real daemon with the plug-in of `everything`: `python -m tests.rig.everything_daemon CONFIG`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from edged import config
from edged.daemon import process
from tests.rig import everything

if __name__ == "__main__":
    sys.exit(process.main(partial(config.load, Path(sys.argv[1])), [everything.offer]))
