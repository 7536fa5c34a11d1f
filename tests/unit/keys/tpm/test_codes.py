"""Every response code that was ever seen, and what it means for whoever uses the keys."""

from __future__ import annotations

import pytest

from edged.errors import DeviceError, KeysCorrupt, KeysPolicy, KeysUnavailable
from edged.keys.tpm import codes
from edged.keys.tpm.codes import Course, Unauthorised

CODES: list[tuple[str, int, Course, type[DeviceError]]] = [
    ("the policy is not satisfied at Unseal", 0x99D, Course.FAIL, KeysPolicy),
    ("PolicyNV compares false", 0x126, Course.FAIL, KeysPolicy),
    ("a PCR changed meanwhile", 0x128, Course.WAIT, KeysPolicy),
    ("an approval is signed by another key", 0x2DB, Course.FAIL, KeysPolicy),
    ("a password is shown to a policy", 0x12F, Course.FAIL, KeysPolicy),
    ("wrong secret, outside the lockout", 0x9A2, Course.FAIL, Unauthorised),
    ("wrong secret, counted", 0x98E, Course.FAIL, Unauthorised),
    ("a blob is damaged, or of another TPM", 0x1DF, Course.FAIL, KeysCorrupt),
    ("a blob is cut short", 0x90006, Course.FAIL, KeysCorrupt),
    ("locked out", 0x921, Course.FAIL, KeysUnavailable),
    ("retry", 0x922, Course.WAIT, KeysUnavailable),
    ("yielded", 0x908, Course.WAIT, KeysUnavailable),
    ("testing itself", 0x90A, Course.WAIT, KeysUnavailable),
    ("NV is written too often", 0x920, Course.WAIT, KeysUnavailable),
    ("no slot for a key", 0x902, Course.MAKE_ROOM, KeysUnavailable),
    ("no slot for a session", 0x903, Course.MAKE_ROOM, KeysUnavailable),
    ("the same, by a resource manager", 0xC0902, Course.MAKE_ROOM, KeysUnavailable),
    ("a session is gone since a reset", 0x918, Course.REOPEN, KeysUnavailable),
    ("no such handle", 0x18B, Course.FAIL, KeysUnavailable),
    ("the owner hierarchy is disabled", 0x185, Course.FAIL, KeysUnavailable),
    ("not started", 0x100, Course.FAIL, KeysUnavailable),
    ("failure mode", 0x101, Course.FAIL, KeysUnavailable),
    ("NV is full", 0x14B, Course.FAIL, KeysUnavailable),
    ("the line broke", 0xA000A, Course.REOPEN, KeysUnavailable),
    ("the context is dead", 0x70007, Course.REOPEN, KeysUnavailable),
    ("a stale reference", 0x70018, Course.REOPEN, KeysUnavailable),
]


@pytest.mark.parametrize(
    ("code", "course", "kind"), [case[1:] for case in CODES], ids=[case[0] for case in CODES]
)
def test_a_code_has_one_course_and_one_named_error(
    code: int, course: Course, kind: type[DeviceError]
) -> None:
    assert codes.course(code) is course
    error = codes.error(code)
    assert type(error) is kind
    assert f"0x{code:x}" in error.message


def test_only_what_may_come_back_is_said_to_be_worth_a_retry() -> None:
    for _, code, _, kind in CODES:
        assert codes.error(code).retryable is (kind is KeysUnavailable)


def test_a_code_nobody_foresaw_is_an_error_all_the_same() -> None:
    assert type(codes.error(0x1C4)) is KeysUnavailable
