"""Questions about profiles that several parts ask."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, QuerySet

from web_server.cells.models import Battery
from web_server.experiments.contract import Contract, draw_up
from web_server.lab.models import Station
from web_server.profiles.models import Profile, ProfileVersion
from web_server.profiles.services import definition_of


@dataclass(frozen=True)
class Offer:
    """A profile, and whether it fits a battery in a station; ``why_not`` says what stands against it."""

    profile: Profile
    version: ProfileVersion
    contract: Contract

    @property
    def fits(self) -> bool:
        """Whether an experiment with it would be filed."""
        return self.contract.fits

    @property
    def why_not(self) -> list[str]:
        """The reasons, each one sentence with its step."""
        return [_with_step(error) for error in self.contract.errors]


def _with_step(error: dict[str, object]) -> str:
    label = f" ({error['label']})" if error.get("label") else ""
    return f"Step {error['step']}{label}: {error['message']}" if error.get("step") else str(error["message"])


def newest() -> QuerySet[ProfileVersion]:
    """Return the newest version of each profile in use, by name; one query."""
    return (
        ProfileVersion.objects.filter(number=F("profile__version"), profile__retired_at=None)
        .select_related("profile")
        .order_by("profile__name")
    )


def offers(battery: Battery | None, station: Station | None, *, long_delays: bool = False) -> list[Offer]:
    """Return every profile in use with its fit, those that fit first (``long_delays``: see `draw_up`)."""
    found = [
        Offer(
            version.profile,
            version,
            draw_up(battery, station, definition_of(version), long_delays=long_delays),
        )
        for version in newest()
    ]
    return sorted(found, key=lambda offer: (not offer.fits, offer.profile.name.casefold()))
