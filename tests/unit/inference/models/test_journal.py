from __future__ import annotations

from pathlib import Path

from edged.inference.models.journal import STRIKES, Journal


def interrupted(directory: Path, *, watched: bool = True) -> Journal:
    """A journal as a process leaves it that was ended while it loaded a model."""
    journal = Journal(directory)
    journal.settle()
    if watched:
        journal.watch()
    journal.begin("face", "2", "int8")
    journal.unwatch()
    return journal


def test_a_load_that_ended_leaves_no_suspect(tmp_path: Path) -> None:
    interrupted(tmp_path / "loading").end("face", "2", "int8")
    assert Journal(tmp_path / "loading").settle() == []


def test_a_fatal_signal_makes_the_load_guilty_at_once_and_is_quoted(tmp_path: Path) -> None:
    interrupted(tmp_path)
    (tmp_path / "fatal").write_text("Fatal Python error: Segmentation fault\n\nCurrent thread")
    (suspect,) = Journal(tmp_path).settle()
    assert suspect.guilty
    assert (suspect.entry.name, suspect.entry.version, suspect.entry.variant) == ("face", "2", "int8")
    assert suspect.reason.endswith("Segmentation fault")


def test_a_process_that_was_merely_ended_costs_the_model_its_place_only_the_third_time(
    tmp_path: Path,
) -> None:
    verdicts = []
    for _ in range(STRIKES):
        journal = Journal(tmp_path)
        verdicts += [s.guilty for s in journal.settle()]
        journal.watch()
        journal.begin("face", "2", "int8")
        journal.unwatch()
    verdicts += [s.guilty for s in Journal(tmp_path).settle()]
    assert verdicts == [False, False, True]


def test_a_load_that_ends_clears_its_strikes(tmp_path: Path) -> None:
    interrupted(tmp_path)
    journal = Journal(tmp_path)
    assert not journal.settle()[0].guilty
    journal.watch()
    journal.begin("face", "2", "int8")
    journal.end("face", "2", "int8")
    journal.begin("face", "2", "int8")
    journal.unwatch()
    assert Journal(tmp_path).settle()[0].entry.strikes == 1


def test_without_a_watch_every_unfinished_load_is_guilty(tmp_path: Path) -> None:
    interrupted(tmp_path, watched=False)
    assert Journal(tmp_path).settle()[0].guilty


def test_an_entry_torn_by_a_power_cut_is_no_evidence(tmp_path: Path) -> None:
    interrupted(tmp_path)
    next(tmp_path.glob("*.json")).write_bytes(b'{"name": "fa')
    assert Journal(tmp_path).settle() == []
    assert list(tmp_path.glob("*.json")) == []
