"""The kernel that thins out boxes."""

from __future__ import annotations

import numpy as np

from edged.inference.kernels.abi import F32, I64, U8, Answer, Count, Real, kernel

_ZERO = np.float32(0)


def nms(
    boxes: F32, order: I64, count: Count, iou_threshold: Real, max_results: Count, gone: U8, kept: I64
) -> Answer:
    """Greedy non-maximum suppression over `boxes` (x0, y0, x1, y1), taken in `order`; answers how many are kept.

    A box goes when its intersection over union with a kept one exceeds the threshold. `gone` is scratch, zeroed.
    """
    found = 0
    for i in range(count):
        if gone[i]:
            continue
        kept[found] = order[i]
        found += 1
        if found == max_results:
            break
        a = 4 * order[i]
        x0, y0, x1, y1 = boxes[a], boxes[a + 1], boxes[a + 2], boxes[a + 3]
        area = (x1 - x0) * (y1 - y0)
        for j in range(i + 1, count):
            if gone[j]:
                continue
            b = 4 * order[j]
            u0, v0, u1, v1 = boxes[b], boxes[b + 1], boxes[b + 2], boxes[b + 3]
            across = max(min(x1, u1) - max(x0, u0), _ZERO)
            down = max(min(y1, v1) - max(y0, v0), _ZERO)
            shared = across * down
            union = area + (u1 - u0) * (v1 - v0) - shared
            if shared > iou_threshold * union:
                gone[j] = 1
    return found


HELPERS = ()
KERNELS = (kernel(nms),)
