"""`edged why`: why it is slow, hot or failing, in words."""

from __future__ import annotations

import argparse

from edged.cli.call import checked
from edged.cli.connection import caller
from edged.cli.tables import show


def why(arguments: argparse.Namespace) -> int:
    """Print what the device's own figures and last events say."""
    with caller(arguments) as device:
        answer = device.call_tool("why", {"model": arguments.model} if arguments.model else {})
        found = checked(answer)
    if arguments.json:
        show(found, as_json=True)
    else:
        print(answer.text)
    return 0
