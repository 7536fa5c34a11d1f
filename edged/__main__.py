"""`python -m edged` is the `edged` command."""

import sys

from edged.cli.main import main

sys.exit(main())
