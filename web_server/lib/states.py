"""How every state looks, everywhere: icon, word, colour (ui.md "States").

The colour is the class ``state-<name>`` of ``cellyard.css``; the icon is one of the vendored sprite.
"""

from __future__ import annotations

ICONS = {
    "idle": "circle",
    "queued": "clock",
    "sent": "clock",
    "starting": "player-play",
    "running": "player-play",
    "manual": "hand-stop",
    "paused": "player-pause",
    "finished": "circle-check",
    "done": "circle-check",
    "stopped": "player-stop",
    "cancelled": "ban",
    "expired": "hourglass",
    "retired": "ban",
    "error": "alert-octagon",
    "failed": "circle-x",
    "refused": "circle-x",
    "tripped": "bolt-off",
    "unsafe": "alert-triangle",
    "offline": "plug-x",
    "online": "plug-connected",
    "pending": "hourglass",
    "approved": "shield-check",
    "raised": "alert-triangle",
    "acknowledged": "eye",
    "cleared": "circle-check",
    "well": "circle-check",
    "unwell": "alert-triangle",
    "old": "clock",
}
# What the word on the page is, where the name alone would not say it.
WORDS = {
    "unsafe": "unsafe: may still be on",
    "acknowledged": "seen",
    "raised": "needs a look",
    "pending": "waiting for approval",
    "unwell": "needs a look",
    "old": "not quite",
}


def icon(state: str) -> str:
    """Return the sprite's icon of ``state``."""
    return ICONS.get(state, "info-circle")


def word(state: str) -> str:
    """Return the word shown for ``state``."""
    return WORDS.get(state, state)
