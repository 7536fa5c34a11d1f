"""Six hundred corrupted and five hundred lying model files, through the door they would really take.

`python -m tests.chaos.models` repeats this with any seed and length.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.chaos.models import FAILURES, MEMORY, storm
from tests.rig.wanted import RUNTIME

PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("kind", "count"), [("corrupted", 600), ("structural", 500)])
def test_no_hostile_model_kills_or_damages_the_process_it_is_offered_to(
    kind: str, count: int, part: int
) -> None:
    with TemporaryDirectory(dir=MEMORY) as directory:
        results = list(storm(2, range(part, count, PARTS), Path(directory), RUNTIME, kind))
    assert len(results) == count // PARTS
    assert [r for r in results if r.fate in FAILURES] == []
    fates = Counter(r.fate for r in results)
    assert fates["refused"] > 0
    assert fates["ran"] > 0
    assert all(r.said for r in results if r.fate == "refused")
