"""The slope of a quantity over a window of time, from at most 32 means: small to save, quiet in noise."""

from __future__ import annotations

from cycling.state import EndMemory

BUCKETS = 32


def feed(memory: EndMemory, time_s: float, x: float, over_s: float) -> None:
    """Add one value; ``memory.slope`` becomes the least-squares slope once the window is full.

    Values are averaged over 1/32 of the window; the slope is computed when such a piece is complete.
    """
    buckets = memory.buckets
    if buckets and time_s - buckets[-1][3] < over_s / BUCKETS - 1e-9:
        last = buckets[-1]
        last[0] += time_s
        last[1] += x
        last[2] += 1.0
        return
    if buckets:
        memory.slope = _slope(buckets, over_s)
    buckets.append([time_s, x, 1.0, time_s])
    while len(buckets) > 2 and buckets[1][3] <= time_s - over_s:
        buckets.pop(0)


def _slope(buckets: list[list[float]], over_s: float) -> float | None:
    points = [(t / n, x / n) for t, x, n, _ in buckets]
    if len(points) < 2 or points[-1][0] - points[0][0] < over_s * 0.9:
        return None
    mean_t = sum(t for t, _ in points) / len(points)
    mean_x = sum(x for _, x in points) / len(points)
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (x - mean_x) for t, x in points) / spread
