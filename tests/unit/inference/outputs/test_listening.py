from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.inference.outputs.listening import Track
from edged.inference.values import Heard


def heard(scores: list[float], *, window: int = 2, threshold: float = 0.5) -> Heard:
    track = Track(["word"], window, threshold)
    for index, score in enumerate(scores):
        track.push(np.array([score], np.float32), float(index))
    return track.take(1.0)


def test_nothing_is_judged_before_the_window_is_full() -> None:
    assert heard([1.0], window=2).scores[0].score == 0.0
    assert heard([1.0, 1.0], window=2).scores[0].score == 1.0


def test_one_loud_moment_is_not_a_word() -> None:
    assert heard([0.0, 1.0, 0.0], window=3).heard == []


def test_a_crossing_is_told_once_with_its_peak() -> None:
    found = heard([0.0, 1.0, 1.0, 0.9, 0.0, 0.0])
    assert [(hit.score, hit.at_s) for hit in found.heard] == [(1.0, 2.0)]


def test_a_word_said_twice_is_told_twice() -> None:
    found = heard([1.0, 1.0, 0.0, 0.0, 0.8, 0.8])
    assert [(hit.score, hit.at_s) for hit in found.heard] == [(1.0, 1.0), (0.8, 5.0)]


def test_a_word_across_two_pieces_is_told_in_the_first() -> None:
    track = Track(["word"], 2, 0.5)
    for score in (1.0, 1.0):
        track.push(np.array([score], np.float32), 0.0)
    assert len(track.take(1.0).heard) == 1
    track.push(np.array([1.0], np.float32), 1.0)
    later = track.take(1.0)
    assert later.heard == []
    assert later.scores[0].score == 1.0


def test_labels_are_followed_apart() -> None:
    track = Track(["yes", "no"], 1, 0.5)
    track.push(np.array([0.9, 0.1], np.float32), 0.0)
    track.push(np.array([0.1, 0.7], np.float32), 1.0)
    assert [(hit.label, hit.at_s) for hit in track.take(1.0).heard] == [("yes", 0.0), ("no", 1.0)]


@given(st.lists(st.floats(0, 1, width=32), max_size=60), st.integers(1, 7), st.floats(0.05, 1.0))
def test_the_best_score_is_the_largest_average_of_a_full_window(
    scores: list[float], window: int, threshold: float
) -> None:
    found = heard(scores, window=window, threshold=threshold)
    means = [float(np.mean(scores[i : i + window])) for i in range(len(scores) - window + 1)]
    assert found.scores[0].score == pytest.approx(max(means, default=0.0), abs=1e-4)
    crossings = sum(
        mean >= threshold and (i == 0 or means[i - 1] < threshold) for i, mean in enumerate(means)
    )
    assert abs(len(found.heard) - crossings) <= sum(abs(mean - threshold) < 1e-6 for mean in means)
