"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("edged", deadline=None)  # how long an example takes on a busy board proves nothing
settings.load_profile("edged")
