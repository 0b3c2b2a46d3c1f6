"""One process owns each bus of the unit (safety.md rule 8): what may be on goes off without its loop.

``parent`` starts and watches the owners and the agent; ``server`` is an owner; ``client`` is how the agent
reaches one; ``guard`` switches off what the control loop does not ask for any more.

Who guards what, from the inside out:

1. The owner's guard: no permit for 5 periods (at least 0.5 s), or the agent's connection gone → off, read back.
2. The parent: no life from an owner for 1 s, or an off that it does not get done → the owner is killed,
   which frees the port, and a new one opens the port, sends off and reads back before anything else.
3. The owners see that the parent is gone or silent → off, and they end.
4. All of them share one computer: beyond that only the device's own protections, its communication
   timeout and a dead-man output are left (rule 3).
"""

from cycler_unit.owner.client import OwnedBuses

__all__ = ["OwnedBuses"]
