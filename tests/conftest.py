"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

from tests.rig.schemas_recorder import every_message_is_as_its_revision_says, overheard

__all__ = ["every_message_is_as_its_revision_says", "overheard"]

settings.register_profile("edged", deadline=None)  # how long an example takes on a busy board proves nothing
settings.load_profile("edged")
