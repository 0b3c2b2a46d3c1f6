"""Small curves drawn on the server, for pages that must be read without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Points for an SVG ``<polyline>`` and the range they span."""

    points: str
    low: float
    high: float


def draw(
    xs: Sequence[float], ys: Sequence[float | None], width: float, height: float, *, least: float = 0.0
) -> Curve | None:
    """Return ``ys`` over ``xs`` scaled into ``width`` × ``height``; None with fewer than two points.

    ``least`` is the smallest range of y that fills the height, so that noise does not look like a wave.
    """
    found = [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None and math.isfinite(y)]
    if len(found) < 2 or found[-1][0] <= found[0][0]:
        return None
    left, right = found[0][0], found[-1][0]
    low, high = min(y for _, y in found), max(y for _, y in found)
    middle, reach = (low + high) / 2, max(high - low, least, abs(high) * 1e-6, 1e-12)
    points = " ".join(
        f"{(x - left) / (right - left) * width:.1f},{height / 2 - (y - middle) / reach * height * 0.9:.1f}"
        for x, y in found
    )
    return Curve(points, low, high)
