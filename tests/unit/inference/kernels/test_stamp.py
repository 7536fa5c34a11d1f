from __future__ import annotations

import platform

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.inference.kernels import abi, build
from edged.inference.kernels.stamp import Stamp, check_fits, cpu_flags, seal, source_hash, unseal

STAMP = Stamp(
    format=abi.FORMAT,
    source=source_hash(),
    machine=platform.machine(),
    cpu="here",
    features="+a,-b",
    needs=[],
    numba="0",
    llvmlite="0",
)
SEALED = seal(b"\x7fELF and so on", STAMP)


def test_a_sealed_library_gives_back_its_stamp() -> None:
    assert unseal(SEALED) == STAMP


@given(at=st.integers(0, len(SEALED) - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, flip: int) -> None:
    damaged = bytearray(SEALED)
    damaged[at] ^= flip
    with pytest.raises(ValueError, match=r"damaged|truncated"):
        unseal(bytes(damaged))


@given(length=st.integers(0, len(SEALED) - 1))
def test_any_truncation_is_noticed(length: int) -> None:
    with pytest.raises(ValueError, match="truncated"):
        unseal(SEALED[:length])


def test_a_stamp_of_another_shape_is_refused_in_words() -> None:
    class Other(msgspec.Struct):
        format: int = 99

    with pytest.raises(ValueError, match="another version of edged"):
        unseal(seal(b"", Other()))  # type: ignore[arg-type] # what a later version may write


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": abi.FORMAT + 1}, "other sources"),
        ({"source": "0" * 64}, "other sources"),
        ({"machine": "vax"}, "compiled for vax"),
        ({"needs": ["asimd", "teleport"]}, "another CPU .*lacks teleport"),
    ],
)
def test_a_library_for_something_else_does_not_fit(change: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_fits(msgspec.structs.replace(STAMP, **change), frozenset({"asimd"}))


def test_more_than_the_library_needs_is_no_reason_to_refuse() -> None:
    check_fits(msgspec.structs.replace(STAMP, needs=["asimd"]), frozenset({"asimd", "sve"}))


def test_a_library_for_any_cpu_fits_where_flags_are_unknown() -> None:
    check_fits(STAMP, frozenset())


def test_this_cpu_names_its_flags() -> None:
    assert cpu_flags()


def test_on_x86_only_instruction_sets_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    flags = frozenset({"avx2", "sse4_2", "bmi1", "abm", "pni", "ibrs", "hypervisor", "rtm"})
    assert build.needs("+avx2,+sse4.2,+bmi,+lzcnt,+sse3,-rtm", flags) == [
        "abm",
        "avx2",
        "bmi1",
        "pni",
        "sse4_2",
    ]


def test_elsewhere_all_flags_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert build.needs("", frozenset({"fp", "asimd"})) == ["asimd", "fp"]
