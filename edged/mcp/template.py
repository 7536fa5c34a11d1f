"""URI templates, RFC 6570 level 1: `edged://models/{name}`.

Pure. A variable takes one or more characters other than `/ ? #`; values are percent-decoded, so a value may
hold a slash all the same: a handler that makes paths of it checks it.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_EXPRESSION = re.compile(r"\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


class UriTemplate:
    """One template; raises ValueError where it is not of level 1, or names a variable twice."""

    def __init__(self, text: str) -> None:
        parts = _EXPRESSION.split(text)
        literals, self.names = parts[::2], tuple(parts[1::2])
        if any(not _NAME.fullmatch(name) for name in self.names) or any(
            set(part) & set("{}") for part in literals
        ):
            raise ValueError(f"URI template {text!r}: only {{name}} expressions are understood")
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"URI template {text!r}: expected one or more variables, each once")
        self.text = text
        self._literals = literals
        pattern = "([^/?#]+)".join(map(re.escape, literals))
        self._match = re.compile(pattern).fullmatch

    def match(self, uri: str) -> dict[str, str] | None:
        """The variables' values in `uri`; None where it is not of this template."""
        found = self._match(uri)
        if found is None:
            return None
        try:
            return {
                name: unquote(value, errors="strict")
                for name, value in zip(self.names, found.groups(), strict=True)
            }
        except UnicodeDecodeError:
            return None

    def expand(self, values: dict[str, str]) -> str:
        """The URI with these values."""
        text = self._literals[0]
        for name, literal in zip(self.names, self._literals[1:], strict=True):
            text += quote(values[name], safe="") + literal
        return text
