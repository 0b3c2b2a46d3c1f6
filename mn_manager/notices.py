"""Tell people of alarms (safety.md rule 19): a thread of its own, so that no mail server holds up a unit.

Every manager plans and sends; the rows decide who sends what, so two never send the same.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

from django.db import DatabaseError, InterfaceError, connection

from web_server.notices import sending, services, words
from web_server.notices.models import Delivery
from web_server.notices.sending import Outcome

logger = logging.getLogger("mn_manager.notices")

# An alarm is to reach somebody within 30 s: looked for this often.
PERIOD_S = 1.0
# A server that does not answer holds one of these for some seconds, not the others.
AT_ONCE = 4
# What is on its way at the end is waited for this long; afterwards another manager tries it again.
LEAVE_S = 5.0


class Notices(threading.Thread):
    """Plans and sends until stopped; only this thread asks the database, the others only send."""

    def __init__(self, manager: str) -> None:
        super().__init__(name="notices", daemon=True)
        self.manager = manager
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notice")
        self._out: dict[Future[Outcome], Delivery] = {}

    def run(self) -> None:
        """Turn every second; a database that is away is tried again."""
        while not self._stopping.is_set():
            try:
                self.turn()
            except (DatabaseError, InterfaceError) as error:
                logger.info("event=notices_wait reason='%s'", " ".join(str(error).split())[:200])
                connection.close()
            except Exception:
                # The one broad except of this thread: a fault in one notice must not silence the others.
                logger.exception("event=notices_fault")
                connection.close()
            self._stopping.wait(PERIOD_S if not self._out else PERIOD_S / 10)
        self._leave()

    def turn(self) -> None:
        """Plan what is due, write what came back, send what is free to go."""
        services.plan()
        self._collect()
        for row in services.take(self.manager, AT_ONCE - len(self._out)):
            title, text = words.of(row)
            assert row.target is not None, "only rows with an address are taken"
            self._out[self._pool.submit(sending.send_to, row.target, title, text)] = row

    def _collect(self) -> None:
        for future in [future for future in self._out if future.done()]:
            row, outcome = self._out[future], future.result()
            services.finish(row, outcome)
            del self._out[future]
            said = "sent" if outcome.sent else "not_sent"
            logger.info(
                "event=notice_%s alarm=%s target=%r attempt=%d reason='%s'",
                said,
                row.alarm.uuid if row.alarm else "test",
                row.target_name,
                row.attempts,
                outcome.text,
            )

    def stop(self) -> None:
        """Stop, after what is on its way has come back or given up."""
        self._stopping.set()
        if self.is_alive():
            self.join(LEAVE_S + 1.0)

    def _leave(self) -> None:
        done = wait(list(self._out), timeout=LEAVE_S).done
        try:
            if done:
                self._collect()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("event=notices_not_recorded reason='%s'", error)
        self._pool.shutdown(wait=False, cancel_futures=True)
        connection.close()
