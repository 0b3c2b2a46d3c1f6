"""``python -m cycler_unit --config unit.yaml`` runs the unit; ``stop-all`` switches everything off."""

from __future__ import annotations

import argparse
import logging
import sys

from cycler_unit import __version__, config, logs

logger = logging.getLogger("cycler_unit")


def main(arguments: list[str] | None = None) -> int:
    """Run one of the unit's two commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cycler_unit", description="The Cellyard unit (docs/unit.md).")
    parser.add_argument("command", nargs="?", choices=["run", "stop-all"], default="run")
    parser.add_argument("--config", default="unit.yaml", help="the unit's settings (default: unit.yaml)")
    parser.add_argument("--version", action="version", version=__version__)
    given = parser.parse_args(arguments)
    try:
        logs.set_up()
        settings = config.load(given.config)
        if given.command == "stop-all":
            from cycler_unit.stop_all import stop_all

            return stop_all(settings)
        return run(settings)
    except (config.BadSetting, logs.BadLogSetting) as error:
        print(f"cycler_unit: {error}", file=sys.stderr)
        return 2


def run(settings: config.Config) -> int:
    """Run until SIGTERM or SIGINT; this process is the parent of all others (safety.md rule 8)."""
    from cycler_unit.lock import Held, Lock
    from cycler_unit.owner.parent import Parent

    lock = Lock(settings.folder / "unit.lock")
    try:
        lock.take()
    except Held as error:
        print(f"cycler_unit: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"cycler_unit: cannot start with {settings.state_dir}: {error}", file=sys.stderr)
        return 1
    try:
        return Parent(settings, lock).run()
    finally:
        lock.release()


if __name__ == "__main__":
    sys.exit(main())
