"""Where heat and battery are going: time to the trip and time to empty, each with its uncertainty. Pure.

Heat: the die over the board over the room, so two time constants, some seconds and some minutes. A bank of pairs is
fitted at once, each by recursive least squares with forgetting (Ljung, System Identification, 11.2) on the load through
its two filters; the pair that predicted best so far speaks.
Battery: a line through the charge over the last while, by least squares, with the standard error of its slope.
"""

from __future__ import annotations

from collections import deque
from math import exp, inf, sqrt

import msgspec

FORGET_S = 1200.0
"""How fast the past fades: about the time in which a room or an enclosure changes."""
STEP_S = 4.0
"""Between two points of the fit."""
POINTS_MIN = 30
STEER_POINTS_MIN = 12
"""Enough to steer by for some seconds ahead, where every look corrects the one before."""
LOAD_SPAN = 0.2
"""So much difference in load must have been seen before anything is said."""
FAST_S = (5.0, 8.0, 13.0)
SLOW_S = (60.0, 100.0, 160.0, 250.0, 400.0, 650.0)
"""Time constants of die and board to choose from: a Pi 4 has about 8 and 155 s, a heat sink makes it more."""
SPREAD_MAX = (900.0, 100.0, 400.0, 400.0)
"""What the four terms may be off by at first, squared, K²."""
RESIDUAL_S = 8.0
HORIZON_S = 3600.0
HEATS_K = 1.0
"""Where full load heats it by less, the load is not what it follows."""
MAY_NOT_K = 1.0
"""An end this close to the trip is "may not trip": the error of the model is of that size."""
BATTERY_WINDOW_S = 1800.0
BATTERY_FALL_PCT = 2.0
"""So much must have gone before a slope is believed: gauges step by whole percents."""


class Outlook(msgspec.Struct, frozen=True):
    """When something will be reached, if all goes on as it does."""

    seconds: float | None
    """None: it may never be."""
    low_s: float | None
    """Nine times in ten it takes longer than this, if the model holds."""
    high_s: float | None
    """And no longer than this; None where that may be never."""
    words: str


NOT_YET = Outlook(None, None, None, "not enough seen yet")


class HeatModel:
    """Learns one sensor; `look` at every sample, then `to` any temperature."""

    def __init__(self) -> None:
        self._bank = [_Fit(fast, slow) for fast in FAST_S for slow in SLOW_S]
        self._last_s: float | None = None
        self._learned_s = -inf
        self._points = 0
        self._loads = (1.0, 0.0)
        self.celsius: float | None = None

    def look(self, now: float, celsius: float, load: float) -> None:
        """Learn from one sample; `load` in 0 to 1, the mean since the sample before."""
        seconds = 0.0 if self._last_s is None else now - self._last_s
        for fit in self._bank:
            fit.follow(load, seconds, start=self._last_s is None)
            fit.correct(celsius, seconds)
        self._last_s, self.celsius = now, celsius
        self._loads = min(self._loads[0], load), max(self._loads[1], load)
        if now - self._learned_s >= STEP_S:
            gap = min(STEP_S * 2, now - self._learned_s)
            self._learned_s = now
            self._points += 1
            for fit in self._bank:
                fit.learn(celsius, exp(-gap / FORGET_S))

    @property
    def ready(self) -> bool:
        """Whether it has seen enough, and enough of a difference in load, to tell."""
        return self._points >= POINTS_MIN and self._varied

    @property
    def _varied(self) -> bool:
        return self._loads[1] - self._loads[0] >= LOAD_SPAN

    def most(self, limit_c: float, seconds: float) -> float | None:
        """The steady load that leads to `limit_c` in so long, unbounded; None where load hardly heats it."""
        if self._points < STEER_POINTS_MIN or not self._varied:
            return None
        best = self._best()
        idle_c, full_c = (best.at(seconds, load)[0] for load in (0.0, 1.0))
        return (limit_c - idle_c) / (full_c - idle_c) if full_c - idle_c >= HEATS_K else None

    @property
    def error_k(self) -> float:
        """What it lately mispredicted from one look to the next, root of the mean square."""
        return sqrt(self._best().cost)

    def end_c(self, load: float) -> float | None:
        """Where it settles at this load, °C."""
        return self._best().at(inf, load)[0] if self.ready and self.celsius is not None else None

    def to(self, trip_c: float, load: float) -> Outlook:
        """When `trip_c` is reached at a steady load."""
        if not self.ready or self.celsius is None:
            return NOT_YET
        if self.celsius >= trip_c:
            return Outlook(0.0, 0.0, 0.0, "reached")
        best = self._best()
        end_c, error_k = best.at(inf, load)
        low = best.until(trip_c, load, +1.645)
        if end_c <= trip_c + max(MAY_NOT_K, error_k):
            return Outlook(None, low, None, f"may not trip: settles near {end_c:.0f} °C")
        seconds = best.until(trip_c, load, 0.0)
        if seconds is None:
            return Outlook(None, low, None, "may not trip within the hour")
        high = best.until(trip_c, load, -1.645)
        return Outlook(seconds, low, high, f"in {seconds:.0f} s, on the way to {end_c:.0f} °C")

    def _best(self) -> _Fit:
        return min(self._bank, key=lambda fit: fit.cost)


class _Fit:
    """`T = c + g x1 + h x2 + d x3`, with x1 and x2 the load through filters of two time constants, c about the room's.

    x3 fades with the slow one and takes up what the board had been doing before the first look. The filters' input is
    known exactly, so noise in T does not bias the fit, as it would where T is regressed on itself.
    """

    def __init__(self, fast_s: float, slow_s: float) -> None:
        self._taus = fast_s, slow_s
        self._x = [1.0, 0.0, 0.0, 1.0]
        self._theta = [40.0, 10.0, 20.0, 0.0]
        self._spread = [[SPREAD_MAX[i] if i == j else 0.0 for j in range(4)] for i in range(4)]
        self._residual = 0.0
        self._squares = self._weights = 0.0

    def follow(self, load: float, seconds: float, *, start: bool) -> None:
        """Let the filters run on."""
        for index, tau_s in enumerate(self._taus, 1):
            keep = 0.0 if start else exp(-seconds / tau_s)
            self._x[index] = keep * self._x[index] + (1 - keep) * load
        self._x[3] *= exp(-seconds / self._taus[1])

    def correct(self, celsius: float, seconds: float) -> None:
        """Note by how much it is off now, smoothed: what it predicts is off by as much."""
        self._residual += (1 - exp(-seconds / RESIDUAL_S)) * (
            celsius - self._predict(self._x) - self._residual
        )

    def learn(self, celsius: float, forget: float) -> None:
        """One step of recursive least squares with forgetting."""
        x, spread = self._x, self._spread
        gains = [sum(spread[i][j] * x[j] for j in range(4)) for i in range(4)]
        scale = forget + sum(x[i] * gains[i] for i in range(4))
        error = celsius - self._predict(x)
        self._theta = [self._theta[i] + gains[i] / scale * error for i in range(4)]
        self._spread = [
            [(spread[i][j] - gains[i] * gains[j] / scale) / forget for j in range(4)] for i in range(4)
        ]
        self._bound()
        self._squares = forget * self._squares + error * error * forget / scale
        self._weights = forget * self._weights + 1.0

    @property
    def cost(self) -> float:
        """Mean square of what it mispredicted, K²."""
        return self._squares / self._weights if self._weights else inf

    def at(self, seconds: float, load: float) -> tuple[float, float]:
        """Temperature after a while at a steady load, and its standard error."""
        fast, slow = (exp(-seconds / tau_s) for tau_s in self._taus)
        x = [1.0, load + (self._x[1] - load) * fast, load + (self._x[2] - load) * slow, self._x[3] * slow]
        spread = sum(x[i] * self._spread[i][j] * x[j] for i in range(4) for j in range(4))
        return self._predict(x) + self._residual, max(0.3, sqrt(max(0.0, self.cost * spread)))

    def _predict(self, x: list[float]) -> float:
        return sum(weight * part for weight, part in zip(self._theta, x, strict=True))

    def _bound(self) -> None:
        """What is not excited must not wind up while the past is being forgotten."""
        for i, most in enumerate(SPREAD_MAX):
            if self._spread[i][i] > most:
                shrink = sqrt(most / self._spread[i][i])
                for j in range(4):
                    self._spread[i][j] *= shrink
                    self._spread[j][i] *= shrink

    def until(self, trip_c: float, load: float, sigmas: float) -> float | None:
        """Seconds until it passes `trip_c`, so many standard errors hotter than predicted; None beyond an hour."""

        def passed(seconds: float) -> bool:
            predicted, error_k = self.at(seconds, load)
            return predicted + sigmas * error_k >= trip_c

        late = 1.0
        while not passed(late):
            late *= 1.5
            if late > HORIZON_S:
                return None
        early = late / 1.5 if late > 1.0 else 0.0
        for _ in range(20):
            middle = (early + late) / 2
            early, late = (early, middle) if passed(middle) else (middle, late)
        return late


class BatteryModel:
    """Learns how fast a battery empties; `look` at every sample, then `empty`."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def look(self, now: float, percent: float, *, discharging: bool) -> None:
        """Learn from one sample; charging starts it anew."""
        if not discharging:
            self._seen.clear()
            return
        if not self._seen or now - self._seen[-1][0] >= STEP_S:
            self._seen.append((now, percent))
        while now - self._seen[0][0] > BATTERY_WINDOW_S:
            self._seen.popleft()

    def empty(self, at_pct: float = 0.0) -> Outlook:
        """When the charge falls to `at_pct`."""
        if len(self._seen) < POINTS_MIN or self._seen[0][1] - self._seen[-1][1] < BATTERY_FALL_PCT:
            return NOT_YET
        slope, error, level = _line(self._seen)
        if slope >= 0:
            return Outlook(None, None, None, "does not fall")
        left = level - at_pct
        if left <= 0:
            return Outlook(0.0, 0.0, 0.0, "reached")
        seconds = -left / slope
        low = left / (-slope + 1.645 * error)
        high = left / (-slope - 1.645 * error) if -slope > 1.645 * error else None
        return Outlook(seconds, low, high, f"in {seconds / 60:.0f} min")


def _line(points: deque[tuple[float, float]]) -> tuple[float, float, float]:
    """Slope, its standard error, and the level at the last point, by least squares."""
    count = len(points)
    mean_t = sum(at for at, _ in points) / count
    mean_p = sum(percent for _, percent in points) / count
    square = sum((at - mean_t) ** 2 for at, _ in points)
    slope = sum((at - mean_t) * (percent - mean_p) for at, percent in points) / square
    residue = sum((percent - mean_p - slope * (at - mean_t)) ** 2 for at, percent in points)
    # readings a step apart share their rounding, so they are not independent: the variance is taken tenfold
    error = sqrt(10 * residue / max(1, count - 2) / square)
    return slope, error, mean_p + slope * (points[-1][0] - mean_t)
