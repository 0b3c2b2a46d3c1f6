"""Several threads that read their first profile at once do not end the process (msgspec 0.22 would)."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
from cycling.check import load
step = {"kind": "cc", "current_a": 0.1, "end": [{"quantity": "time_s", "value": 600}]}
given = {"name": "t", "record": {"every_s": 0.1}, "steps": [step]}
together, found = threading.Barrier(8), []
def work():
    together.wait()
    found.append(load(given))
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 8 and not any(problems for _, problems in found)
"""


def test_eight_threads_read_their_first_profile_at_once() -> None:
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, f"{ended.returncode}: {ended.stderr[-2000:]}"
