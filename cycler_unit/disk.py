"""Small files that must survive a power cut: whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``content`` atomically and force it to the disk.

    1. a temporary file beside it, forced; 2. renamed over the old one; 3. the folder forced, so
    that the new name survives too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(content)
            file.flush()
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    _force_folder(path.parent)


def _force_folder(folder: Path) -> None:
    # Windows cannot open a folder; its rename is durable by the journal.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path, kind: type[T]) -> T | None:
    """Return the JSON file as a ``kind``, None when there is none; raises ``msgspec.MsgspecError``."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
