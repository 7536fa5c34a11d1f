"""Home Assistant's templates, as far as ours use them: a path into `value_json`, looked up as Jinja does.

`a.b` is an attribute before it is an item, and `a['b']` an item before it is an attribute (Jinja 3, "Variables").
"""

from __future__ import annotations

import re
from typing import Any

_TEMPLATE = re.compile(r"^\{\{ (value_json)((?:\.[a-z_][a-z0-9_]*|\['[a-z0-9_]+'\])+) \}\}$")
_STEP = re.compile(r"\.(?P<attribute>\w+)|\['(?P<item>\w+)'\]")


def render(template: str, value_json: Any) -> str:
    """What Home Assistant makes of it; raises LookupError for what it would log as undefined."""
    found = _TEMPLATE.match(template)
    if found is None:
        raise ValueError(f"more than a path: {template}")
    at = value_json
    for step in _STEP.finditer(found[2]):
        name = step["attribute"] or step["item"]
        at = getattr(at, name) if step["attribute"] and hasattr(at, name) else at[name]
    return str(at)
