"""Addresses of notices hold passwords: they lie encrypted in the database.

Fernet (AES-128-CBC with HMAC-SHA256, `cryptography`), its key derived from ``CELLYARD_SECRET_KEY`` by HKDF
(RFC 5869): who has the database or its backup alone reads no password. Every process that sends must have
the same ``CELLYARD_SECRET_KEY``.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

# Another use of the secret key derives another key.
_PURPOSE = b"cellyard notice addresses 1"


class Unreadable(Exception):
    """An address was sealed with another key; the text says what to do."""


def seal(text: str) -> str:
    """Return a text encrypted, as it is kept in the database."""
    return _fernet().encrypt(text.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """Return the text of a sealed one.

    Raises:
        Unreadable: it was sealed with another key, or changed since.
    """
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise Unreadable(
            "the address was encrypted with another CELLYARD_SECRET_KEY: give the manager the site's key, "
            "or enter the address again"
        ) from None


def _fernet() -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derived.derive(settings.SECRET_KEY.encode())))
