"""What a handler may ask of the client while it runs, and what comes back.

Pure. Handlers are re-entrant: where an answer is not there yet, asking raises `InputRequired` and the handler
runs again from its start with every answer so far. Hence: ask before anything with an effect.
`Sample` and `Roots` are deprecated in 2026-07-28 and here for peers of older revisions and for tests.
Source: 2026-07-28 basic/patterns/mrtr.mdx, client/elicitation.mdx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec


class Form(msgspec.Struct, frozen=True):
    """Ask the user to fill in a flat form; never for secrets."""

    message: str
    schema: dict[str, Any]
    """JSON Schema of a flat object of strings, numbers, booleans and enums."""


class Visit(msgspec.Struct, frozen=True):
    """Ask the user to open a page, for what must not pass through the client."""

    message: str
    url: str
    elicitation_id: str


class Sample(msgspec.Struct, frozen=True):
    """Ask the client's model; `params` are those of `sampling/createMessage`."""

    params: dict[str, Any]


class Roots(msgspec.Struct, frozen=True):
    """Ask for the client's root directories."""


Question: TypeAlias = Form | Visit | Sample | Roots


class Reply(msgspec.Struct, frozen=True):
    """What the user did with a `Form` or `Visit`; `content` as the client gave it, checked against nothing."""

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, str | int | float | bool | list[str]] = {}


class InputRequired(Exception):
    """The handler cannot go on without these answers."""

    def __init__(self, questions: Mapping[str, Question]) -> None:
        super().__init__(f"waiting for {', '.join(questions)}")
        self.questions = questions
