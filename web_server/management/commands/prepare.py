"""Make the site ready: tables, catalogue, first administrator, a token for a first unit."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role
from web_server.lab import demo
from web_server.lab import services as lab
from web_server.lab.models import EnrolToken
from web_server.lib import secret

ADMIN = "admin"
BENCH = "bench"
# The bench's unit is started with the site; should that take a week off, its token still works.
BENCH_HOURS = 24 * 30


class Command(BaseCommand):
    """Can be run again at any time: it adds what is missing and changes nothing that is there."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument(
            "--demo",
            action="store_true",
            help="record two demo cells and a profile, to be set up on the first unit",
        )
        parser.add_argument(
            "--enrol-token",
            action="store_true",
            help="make a one-time token for a unit, kept in the state folder",
        )

    def handle(self, **options: Any) -> None:
        """1. tables and catalogue; 2. administrator; 3. the bench's token, with its plan."""
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"The database does not answer or refuses: {reason}") from None
        by = self._administrator()
        if options["demo"] or options["enrol_token"]:
            self._bench_token(by, with_plan=options["demo"])
        self.stdout.write("The site is ready.")

    def _administrator(self) -> Person | None:
        """Return the first administrator, made when the site has none."""
        known = Person.objects.filter(role=Role.ADMINISTRATOR, is_active=True).order_by("id").first()
        if known is not None:
            return known
        password = settings.CELLYARD.admin_password
        if not password:
            path = self._kept("admin-password")
            password = secret.read_or_make(path, length=12)
            self.stdout.write(f"The administrator's password is in {path}.")
        person = Person(username=ADMIN, role=Role.ADMINISTRATOR)
        person.set_password(password)
        person.save()
        audit.record(None, "person.add", person, role=Role.ADMINISTRATOR)
        self.stdout.write(f"Administrator {ADMIN!r} added.")
        return person

    def _bench_token(self, by: Person | None, *, with_plan: bool) -> None:
        """Make the bench's one-time token, once; its secret is in the state folder for the unit."""
        if EnrolToken.objects.filter(note=BENCH).exists():
            return
        plan = demo.make(by) if with_plan else {}
        _, made = lab.issue_enrol_token(by, note=BENCH, hours=BENCH_HOURS, plan=plan)
        path = self._kept("enrol-token")
        _write(path, made)
        self.stdout.write(f"The first unit's one-time token is in {path}.")

    @staticmethod
    def _kept(name: str) -> Path:
        return Path(settings.CELLYARD.state_dir) / name


def _write(path: Path, text: str) -> None:
    """Write a secret whole and with mode 0600, whatever was there."""
    mine = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    mine.touch(mode=0o600)
    mine.write_text(text + "\n", encoding="utf-8")
    mine.replace(path)
