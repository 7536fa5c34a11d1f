"""The kernel that reads boxes off an SSD's raw outputs and thins them out, in one call."""

from __future__ import annotations

import numpy as np

from edged.inference.kernels.abi import F32, I64, U8, Answer, Count, Number, Real, kernel
from edged.inference.kernels.tensor import finite

_ZERO = np.float32(0)
_HALF = np.float32(0.5)

BOXES_NOT_FINITE = -1
SCORES_NOT_FINITE = -2

MIDDLE_X, MIDDLE_Y, WIDTH, HEIGHT = 0, 1, 2, 3
"""Columns of a raw box; keypoints follow, x and y each, relative to the anchor as the middle is."""
KIND, LOGIT, X0, Y0, X1, Y1 = 0, 1, 2, 3, 4, 5
"""Columns of a found row; keypoints follow, as in the raw box, now in input pixels."""


def likeliest(
    logits: F32, count: Number, classes: Number, least: Number, most: Number, order: I64, scores: F32
) -> Number:
    """Anchors whose best class reaches `least`: at most `most`, falling, ties by index; answers how many."""
    found = 0
    for i in range(count):
        score = logits[i * classes]
        for j in range(1, classes):
            score = max(score, logits[i * classes + j])
        if score < least or (found == most and not score > scores[most - 1]):
            continue
        place = found if found < most else most - 1
        found = place + 1
        while place > 0 and score > scores[place - 1]:
            order[place], scores[place] = order[place - 1], scores[place - 1]
            place -= 1
        order[place], scores[place] = i, score
    return found


def overlap(corners: F32, a: Number, b: Number, iou_threshold: Number) -> Number:
    """Whether the intersection over union of the rectangles that begin at `a` and at `b` exceeds the threshold."""
    x0, y0, x1, y1 = corners[a], corners[a + 1], corners[a + 2], corners[a + 3]
    u0, v0, u1, v1 = corners[b], corners[b + 1], corners[b + 2], corners[b + 3]
    across, down = max(min(x1, u1) - max(x0, u0), _ZERO), max(min(y1, v1) - max(y0, v0), _ZERO)
    shared = across * down
    return shared > iou_threshold * ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared)


def place(
    raw: F32, logits: F32, anchors: F32, columns: Number, classes: Number, likely: Number,
    order: I64, scores: F32, kinds: I64, corners: F32,
) -> None:  # fmt: skip
    """The corners of the likely boxes in input pixels, and which class each is."""
    for i in range(likely):
        box, anchor = order[i] * columns, order[i] * 2
        x, y = raw[box + MIDDLE_X] + anchors[anchor], raw[box + MIDDLE_Y] + anchors[anchor + 1]
        half_x, half_y = raw[box + WIDTH] * _HALF, raw[box + HEIGHT] * _HALF
        corners[4 * i], corners[4 * i + 1] = x - half_x, y - half_y
        corners[4 * i + 2], corners[4 * i + 3] = x + half_x, y + half_y
        kind = 0
        while logits[order[i] * classes + kind] < scores[i]:
            kind += 1
        kinds[i] = kind


def write(
    raw: F32,
    anchors: F32,
    columns: Number,
    box: Number,
    corners: F32,
    corner: Number,
    found: F32,
    row: Number,
) -> None:
    """Corners and keypoints of one box."""
    for j in range(4):
        found[row + X0 + j] = corners[corner + j]
    for j in range(4, columns):
        found[row + 2 + j] = raw[box * columns + j] + anchors[box * 2 + j % 2]


def anchored(
    raw: F32, logits: F32, anchors: F32, count: Count, columns: Count, classes: Count,
    least: Real, iou_threshold: Real, candidates_max: Count, results_max: Count,
    order: I64, kinds: I64, scores: F32, corners: F32, gone: U8, found: F32,
) -> Answer:  # fmt: skip
    """Greedy non-maximum suppression within each class over the likely boxes, surest first; answers how many stay.

    `raw` is (count, columns), `logits` (count, classes), `anchors` (count, 2), `found` (results_max, 2 + columns),
    its rows as named above. `order`, `kinds`, `scores`, `corners` (4 each) and `gone` are scratch for
    `candidates_max` boxes. A negative answer says which tensor holds NaN or infinity.
    """
    if not finite(raw, count * columns):
        return BOXES_NOT_FINITE
    if not finite(logits, count * classes):
        return SCORES_NOT_FINITE
    likely = likeliest(logits, count, classes, least, candidates_max, order, scores)
    place(raw, logits, anchors, columns, classes, likely, order, scores, kinds, corners)
    for i in range(likely):
        gone[i] = 0
    kept = 0
    for i in range(likely):
        if kept == results_max:
            break
        if gone[i]:
            continue
        row = kept * (2 + columns)
        kept += 1
        found[row + KIND], found[row + LOGIT] = kinds[i], scores[i]
        write(raw, anchors, columns, order[i], corners, 4 * i, found, row)
        for j in range(i + 1, likely):
            if kinds[j] == kinds[i] and overlap(corners, 4 * i, 4 * j, iou_threshold):
                gone[j] = 1
    return kept


HELPERS = (likeliest, overlap, place, write)
KERNELS = (kernel(anchored),)
