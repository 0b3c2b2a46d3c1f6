"""Run the embedded broker: ``python -m devops.broker [--state-dir var] [--host 127.0.0.1] [--port 1883]``.

It keeps nothing on disk; after a restart every client connects, subscribes and publishes again by
itself, which is all that Cellyard relies on.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from iotcore.iotcore import IotCoreBroker

from .rumqttd import write_config


def main() -> None:
    """Write the configuration, say where the broker listens, and serve until ended."""
    arguments = parse_arguments()
    # rumqttd reports every packet as an error span; its log is worth reading only while debugging.
    logging.basicConfig(level=logging.CRITICAL)
    config = write_config(arguments.state_dir, arguments.host, arguments.port)
    broker = IotCoreBroker(config_path=str(config))
    try:
        broker.check_ports()
    except OSError:
        sys.exit(f"port {arguments.port} of {arguments.host} is in use: set CELLYARD_MQTT_PORT to a free one")
    # The broker never comes back to Python, so a handler of ours would never run; it has nothing to
    # save, so the system's own ending is right.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(f"INFO listening on {arguments.host}:{arguments.port}", flush=True)
    broker.run_forever()


def parse_arguments() -> argparse.Namespace:
    """Return the command line's settings; what is not given comes from the environment."""
    parser = argparse.ArgumentParser(prog="python -m devops.broker", description="The embedded MQTT broker.")
    environ = os.environ
    parser.add_argument("--state-dir", type=Path, default=Path(environ.get("CELLYARD_STATE_DIR", "var")))
    parser.add_argument("--host", default=environ.get("CELLYARD_BIND", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(environ.get("CELLYARD_MQTT_PORT", "1883")))
    return parser.parse_args()


if __name__ == "__main__":
    main()
