"""Load and check profiles: the door that the site, the unit and the editor use."""

from __future__ import annotations

from cycling.loading import load
from cycling.problem import Problem

__all__ = ["Problem", "load"]
