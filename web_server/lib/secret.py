"""Secrets that Cellyard makes for itself and keeps in its state folder, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

# 50 bytes are 400 bits: more than Django's own 50 characters of 5.6 bits.
SECRET_BYTES = 50


def read_or_make(path: Path, *, length: int = SECRET_BYTES) -> str:
    """Return the secret kept in ``path``; make it with mode 0600 when there is none.

    Several processes may start at once: the secret is written whole to a file of its own and linked
    into place, so that the first one wins and nobody reads half a secret.
    """
    try:
        kept = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(length) + "\n")
    try:
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_text(encoding="utf-8").strip()
