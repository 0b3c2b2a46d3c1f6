"""Safety rule 9: what a test does while nothing is heard of the server, decided and done on the unit.

The owning manager answers every heartbeat; that is the contact. ``continue``: nothing. ``finish_step``:
the running step is finished, for at most ``off_after_s``. ``off``: the test ends after ``off_after_s``.
A drill lets one station behave as if the server were away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cycler_unit.contract import Refusal
from cycler_unit.mail import Reply
from wire.messages import StationDrill

if TYPE_CHECKING:
    from cycler_unit.conductor import Conductor
    from cycler_unit.run import Run

# The server counts as away after three heartbeats without an answer (wire.md: offline after 15 s).
AWAY_S = 15.0
# Without a time of its own a policy gives the server this long.
OFF_AFTER_S = 60.0


@dataclass
class Drill:
    """A loss of contact that is only played."""

    began_s: float
    seconds: float
    person: str
    experiment: str


class Contact:
    """Watch the contact of one station's test; used by its thread only."""

    def __init__(self, conductor: Conductor, now: Callable[[], float] = time.monotonic) -> None:
        self._conductor, self._station, self.now = conductor, conductor.station, now
        self._drill: Drill | None = None
        self._away: tuple[str, int] | None = None
        """The experiment and the count of its step when the server was found away."""

    def heard_within(self, seconds: float) -> bool:
        """Say whether the server was heard in the last ``seconds``; in a drill it is silent since its start."""
        drill = self._drill
        if drill is not None and self.now() - drill.began_s >= seconds:
            return False
        return self._station.hub.heard_within(seconds)

    def look(self, run: Run) -> str | None:
        """Return why the test must end now, None while its policy lets it go on."""
        self._end_of_drill(run)
        policy = run.start.contact_policy
        if policy == "continue" or run.interpreter.state in ("paused", "ended"):
            self._away = None
            return None
        off_after_s = OFF_AFTER_S if run.start.off_after_s is None else run.start.off_after_s
        if not self.heard_within(off_after_s):
            bound = ", the step did not end before" if policy == "finish_step" else ""
            return self._acted(run, f"no contact with the server for {off_after_s:g} s{bound}")
        return self._step_over(run, off_after_s) if policy == "finish_step" else None

    def _step_over(self, run: Run, off_after_s: float) -> str | None:
        """Return why the test ends after the step in which the server was found away."""
        here = (run.id, run.interpreter.step_count)
        if self.heard_within(min(AWAY_S, off_after_s)):
            self._away = None
        elif self._away is None or self._away[0] != run.id:
            self._away = here
            self._say(run, "no contact with the server: the test ends after the running step", {})
        elif self._away != here:
            self._away = None
            return self._acted(run, "no contact with the server when the step ended")
        return None

    def _acted(self, run: Run, text: str) -> str:
        drill, self._drill = self._drill, None
        text = f"{text} (contact policy: {run.start.contact_policy})"
        if drill is None:
            return text
        self._report(
            run, drill, f"drill by {drill.person or 'a person'}: the policy ended the test", acted=True
        )
        return f"drill: {text}"

    # --- drill ------------------------------------------------------------------------------------

    def drill(self, args: StationDrill, reply: Reply) -> None:
        """Begin a drill; its outcome is an event. Raises :class:`Refusal` when no test runs."""
        run = self._conductor.run
        if run is None or run.phase != "active" or run.interpreter.state == "paused":
            raise Refusal("no test runs here: there is nothing that a loss of contact could end")
        if not args.seconds > 0:
            raise Refusal(f"a drill lasts longer than 0 s, not {args.seconds:g} s")
        self._drill = Drill(self.now(), args.seconds, args.person, run.id)
        policy = run.start.contact_policy
        self._report(run, self._drill, f"drill: the server counts as away for {args.seconds:g} s", acted=None)
        reply("done", {"policy": policy, "seconds": args.seconds, "experiment": run.id}, None)

    def _end_of_drill(self, run: Run) -> None:
        drill = self._drill
        if drill is None:
            return
        if drill.experiment != run.id:
            self._drill = None
            return
        if self.now() - drill.began_s < drill.seconds:
            return
        self._drill = None
        went_on = run.start.contact_policy == "continue"
        text = (
            "drill over: the test went on without the server, as its policy says"
            if went_on
            else f"drill over after {drill.seconds:g} s: too short for the policy to act, the test goes on"
        )
        self._report(run, drill, text, acted=went_on)

    def _report(self, run: Run, drill: Drill, text: str, *, acted: bool | None) -> None:
        detail = {
            "policy": run.start.contact_policy,
            "seconds": drill.seconds,
            "person": drill.person,
            "after_s": round(self.now() - drill.began_s, 3),
        }
        self._say(run, text, {"drill": detail if acted is None else {**detail, "acted": acted}})

    def _say(self, run: Run, text: str, detail: dict[str, object]) -> None:
        self._station.event("note", text, detail, run.id)
