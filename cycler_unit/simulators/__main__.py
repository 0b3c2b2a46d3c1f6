"""Run simulated devices: ``python -m cycler_unit.simulators --config bench.yaml``.

The file (every key but ``name`` and ``model`` of a supply may be left out)::

    host: 127.0.0.1
    control_port: 5099        # 0 = any free one; see cycler_unit/simulators/control.py
    seed: 1
    supplies:
      - name: psb1
        model: ea-psb-10010-05-sim     # a catalogue key (docs/devices.md)
        serial_number: "2538170001"
        port: 5025                     # raw SCPI; 0 = any free one
        pty: /tmp/psb1                 # and/or a pseudo-terminal under this name
        speed: 1.0                     # seconds of the cell per second
        noise_v: 0.0005
        noise_a: 0.0002
        cell: {chemistry: NMC, capacity_ah: 2.5, r0_ohm: 0.03, soc: 0.5}
    circuits:                          # holders whose cell several devices share
      - {name: holder1, ambient_c: 23, cell: {chemistry: NMC, capacity_ah: 2.5, soc: 0.5}}
    devices:                           # any family of cycler_unit/simulators/device.py
      - {name: ps1, model: ea-ps-2084-05-b, circuit: holder1, port: 0}

One line ``ready NAME MODEL RESOURCE`` per way in, ``ready control HOST:PORT``, then ``ready all``.
A port in use ends it with one sentence and code 1.

``--ask JSON`` sends one line to the control port of the simulators that run with this file, prints the answer
and ends with code 0 when it was done: ``--ask '{"device": "psb1", "fault": "drop_link"}'``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from pathlib import Path

from cycler_unit.simulators import bench, program

# A control line is answered at once; a day of cells moved forward takes some seconds.
ASK_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cycler_unit.simulators", description="Simulated devices."
    )
    parser.add_argument("--config", type=Path, required=True, help="the bench file (YAML)")
    parser.add_argument("--ask", metavar="JSON", help="send this line to the running simulators instead")
    options = parser.parse_args(arguments)
    try:
        if options.ask is not None:
            return ask(bench.load(options.config), options.ask)
        asyncio.run(program.run(bench.load(options.config), say))
    except (bench.BenchError, program.CannotStart) as error:
        print(f"simulators: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def ask(running: bench.Bench, line: str) -> int:
    """Send one line to the control port and print the answer; return 0 when it was done."""
    if not running.control_port:
        raise bench.BenchError("control_port: the file names none, so nobody can be asked")
    place = ("127.0.0.1", running.control_port)
    try:
        with socket.create_connection(place, ASK_S) as wire, wire.makefile("rb") as heard:
            wire.sendall(line.replace("\n", " ").encode() + b"\n")
            answer = heard.readline().decode()
        done = bool(json.loads(answer)["ok"])
    except (OSError, ValueError):
        raise bench.BenchError(
            f"control_port: nobody answers at 127.0.0.1:{running.control_port}; do the simulators run?"
        ) from None
    say(answer.strip())
    return 0 if done else 1


def say(line: str) -> None:
    """Print one line at once: whoever started the program waits for it."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
