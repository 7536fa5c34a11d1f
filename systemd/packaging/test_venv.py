from __future__ import annotations

from systemd.packaging.venv import without

LOCK = """\
numba==0.68.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:cc
"""


def test_a_package_is_left_out_with_its_hashes() -> None:
    assert without({"numba"}, LOCK) == LOCK[LOCK.index("numpy") :]
    assert without(set(), LOCK) == LOCK
