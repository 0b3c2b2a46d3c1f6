"""Which units this manager serves: rows taken and renewed by conditional UPDATE (wire.md).

1. Renew what is ours. 2. Take what nobody holds any more, up to a fair share. 3. Let go of what is
above it, so that a new manager gets work. A lease that was not renewed in time is not trusted, even
when this process has only been asleep: `owns` says no before any other manager may have taken it.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from web_server.lab.models import ManagerBeat, Unit

LEASE_S = 15.0
RENEW_S = 3.0
# Stop acting this long before others may think the lease has lapsed: clocks and pauses differ.
MARGIN_S = 3.0


class Leases:
    """The units of one manager, as UUID text → primary key."""

    def __init__(self, manager: str) -> None:
        self.manager = manager
        self.units: dict[str, int] = {}
        self._trusted_until_s = 0.0

    @property
    def trusted(self) -> bool:
        """Whether no other manager can have taken our units yet."""
        return time.monotonic() < self._trusted_until_s

    def owns(self, unit: str) -> bool:
        """Return whether this manager may act for the unit now."""
        return unit in self.units and self.trusted

    def keys(self) -> list[int]:
        """Return the primary keys of the units it may act for now."""
        return list(self.units.values()) if self.trusted else []

    def renew(self) -> None:
        """Renew, take, let go; afterwards ``units`` is what the database says."""
        began_s, now = time.monotonic(), timezone.now()
        until = now + timedelta(seconds=LEASE_S)
        self._mine().update(lease_until=until)
        share = self._fair_share()
        held = self._mine().count()
        if held < share:
            for key in list(self._free(now).values_list("pk", flat=True)[: share - held]):
                self._free(now).filter(pk=key).update(manager=self.manager, lease_until=until)
        elif held > share:
            # One at a time: it is taken up elsewhere before the next one goes.
            key = self._mine().order_by("-pk").values_list("pk", flat=True).first()
            self._mine().filter(pk=key).update(manager="", lease_until=None)
        self.units = {str(unit): key for key, unit in self._mine().values_list("pk", "uuid")}
        self._trusted_until_s = began_s + LEASE_S - MARGIN_S

    def ask_for(self, unit: Unit) -> bool:
        """Take this one unit, which just asked to be registered; False when another manager holds it."""
        now = timezone.now()
        row = Unit.objects.filter(pk=unit.pk).filter(
            Q(manager=self.manager) | Q(lease_until=None) | Q(lease_until__lt=now)
        )
        return row.update(manager=self.manager, lease_until=now + timedelta(seconds=LEASE_S)) == 1

    def release(self) -> None:
        """Let go of all units, so that another manager goes on at once."""
        Unit.objects.filter(manager=self.manager).update(manager="", lease_until=None)
        self.units = {}

    def _mine(self) -> QuerySet[Any]:
        return self._served().filter(manager=self.manager)

    def _free(self, now: Any) -> QuerySet[Any]:
        return self._served().filter(Q(lease_until=None) | Q(lease_until__lt=now)).order_by("pk")

    def _served(self) -> QuerySet[Any]:
        return Unit.objects.filter(approved=True, retired_at=None)

    def _fair_share(self) -> int:
        """Return how many units are ours when all live managers share them."""
        alive = timezone.now() - timedelta(seconds=LEASE_S)
        others = ManagerBeat.objects.filter(seen_at__gt=alive).exclude(manager=self.manager).count()
        return math.ceil(self._served().count() / (others + 1))
