"""Thin what devices read long ago while they ran no experiment; samples of experiments stay as they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from web_server.measurements import thinning

# At least this old, and at least so far apart: what somebody still looks at stays.
LEAST_DAYS, LEAST_S = 1.0, 10.0
# Older than a century is nothing, and no date is before the year 1.
MOST_DAYS, MOST_S = 36_500.0, 86_400.0


class Command(BaseCommand):
    """Can be run at any time, beside everything else, and as often as one likes."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--older-than-days", type=float, default=90.0, help="default 90")
        parser.add_argument(
            "--every-s",
            type=float,
            default=600.0,
            help="of each so many seconds stay the first, lowest and highest",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say how many rows would go")

    def handle(self, **options: Any) -> None:
        """Thin, and say how many rows went."""
        days, every_s = options["older_than_days"], options["every_s"]
        if not LEAST_DAYS <= days <= MOST_DAYS:
            raise CommandError(f"--older-than-days is {days:g}; allowed is {LEAST_DAYS:g} to {MOST_DAYS:g}")
        if not LEAST_S <= every_s <= MOST_S:
            raise CommandError(f"--every-s is {every_s:g}; allowed is {LEAST_S:g} to {MOST_S:g}")
        before = timezone.now() - timedelta(days=days)
        gone = thinning.thin(before, every_s, dry_run=options["dry_run"])
        self.stdout.write(f"{gone} readings {'would go' if options['dry_run'] else 'are gone'}.")
