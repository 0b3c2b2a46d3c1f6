"""The manager's part of registration: who answers, and the broker user that comes with approval."""

from __future__ import annotations

import logging

from mn_manager.broker_users import BrokerUsers
from mn_manager.leases import Leases
from web_server.lab import enrolment
from wire.messages import RegisterAnswer, RegisterAsk

logger = logging.getLogger("mn_manager.enrol")


class Enrol:
    """Answers questions of units; all managers hear them, the one that gets the row's lease answers."""

    def __init__(self, leases: Leases, users: BrokerUsers) -> None:
        self.leases = leases
        self.users = users

    def answer(self, ask: RegisterAsk) -> RegisterAnswer | None:
        """Return the answer, None when another manager gives it."""
        unit = enrolment.unit_for(ask)
        if unit is None:
            return RegisterAnswer(kind="refused", reason=enrolment.TOO_MANY)
        if not self.leases.ask_for(unit):
            return None
        was = unit.approved
        answered = enrolment.answer(unit, ask)
        if answered.answer.kind == "ack":
            # 1. Its user at the broker. A known unit's password changes only by a one-time token:
            #    whoever learns a hardware id must not get its unit's place.
            self.users.ensure(str(unit.uuid), ask.password, replace=answered.by_token)
            # 2. Its topics, before it hears that it may speak.
            self.leases.renew()
        if unit.approved and not was:
            logger.info("event=unit_approved unit=%s hardware_id=%r", unit.uuid, ask.hardware_id)
        logger.debug("event=enrol_answered unit=%s kind=%s", unit.uuid, answered.answer.kind)
        return answered.answer
