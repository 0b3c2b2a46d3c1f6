"""Changes to people and their tokens."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person, Token
from web_server.accounts.roles import Role, at_least, require
from web_server.lib.entity import update_if
from web_server.lib.errors import NotAllowed, Refused
from web_server.lib.transactions import atomic

# A token lives this long unless its maker says otherwise.
TOKEN_DAYS = 90
# Longest life of a token; programs that run for years renew theirs.
TOKEN_DAYS_MAX = 3650
# Writing "last used" on every request would make each read a write.
LAST_USED_STEP = timedelta(minutes=1)


@atomic
def add_person(
    by: Person | None, *, username: str, password: str, role: str = Role.VIEWER, email: str = ""
) -> Person:
    """Add somebody who may log in.

    Raises:
        NotAllowed: ``by`` is no administrator.
        Refused: the name is taken, the role unknown or the password too weak.
    """
    require(by, Role.ADMINISTRATOR, "add people")
    person = Person(username=username.strip(), role=_known_role(role), email=email)
    _check_password(person, password)
    person.set_password(password)
    try:
        with transaction.atomic():
            person.full_clean(exclude=["password"])
            person.save()
    except (ValidationError, IntegrityError) as error:
        raise Refused(_as_errors(error)) from None
    audit.record(by, "person.add", person, role=role)
    return person


@atomic
def change_role(by: Person | None, person: Person, role: str) -> Person:
    """Give ``person`` another role; the last active administrator keeps theirs.

    Raises:
        NotAllowed: ``by`` is no administrator.
        Refused: nobody would be left to administrate, or the role is unknown.
    """
    require(by, Role.ADMINISTRATOR, "change a role")
    _keep_an_administrator(person, role=_known_role(role), active=person.is_active)
    before, person.role = person.role, role
    person.save(update_fields=["role"])
    audit.record(by, "person.role", person, role=[before, role])
    return person


@atomic
def switch(by: Person | None, person: Person, *, active: bool) -> Person:
    """Switch an account on or off; switching it off revokes its tokens."""
    require(by, Role.ADMINISTRATOR, "switch accounts on or off")
    _keep_an_administrator(person, role=person.role, active=active)
    person.is_active = active
    person.save(update_fields=["is_active"])
    if not active:
        person.tokens.filter(revoked_at=None).update(revoked_at=timezone.now())
    audit.record(by, "person.on" if active else "person.off", person)
    return person


@atomic
def set_password(by: Person | None, person: Person, password: str) -> None:
    """Set a new password: one's own, or as administrator anybody's."""
    if by is not None and by.pk != person.pk:
        require(by, Role.ADMINISTRATOR, "set somebody else's password")
    _check_password(person, password)
    person.set_password(password)
    person.save(update_fields=["password"])
    audit.record(by, "person.password", person)


@atomic
def issue_token(
    by: Person, *, name: str = "", scope: str | None = None, expires_in_days: int | None = TOKEN_DAYS
) -> tuple[Token, str]:
    """Make a token for ``by``; return its row and the secret, which is never seen again.

    ``scope`` is a role: the token may never do more, nor more than its person.

    Raises:
        Refused: the scope is unknown or above the person's role, or the life is out of range.
    """
    scope = scope or by.effective_role
    if scope not in Role.values:
        raise Refused.one(f"Unknown scope {scope!r}; use one of {', '.join(Role.values)}.", "scope")
    if not at_least(by.effective_role, scope):
        raise Refused.one(f"The scope {scope} is above your role {by.effective_role}.", "scope")
    if expires_in_days is not None and not 0 < expires_in_days <= TOKEN_DAYS_MAX:
        raise Refused.one(f"A token lives 1 to {TOKEN_DAYS_MAX} days.", "expires_in_days")
    secret = secrets.token_urlsafe(32)
    token = Token.objects.create(
        person=by,
        name=name.strip()[:100],
        digest=Token.digest_of(secret),
        beginning=secret[:8],
        scope=scope,
        expires_at=timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None,
    )
    audit.record(by, "token.issue", token, scope=scope)
    return token, secret


@atomic
def revoke_token(by: Person, token: Token) -> None:
    """End a token at once: one's own, or as administrator anybody's."""
    if token.person_id != by.pk and not at_least(by.effective_role, Role.ADMINISTRATOR):
        raise NotAllowed("This token belongs to somebody else.")
    if update_if(Token.objects.filter(pk=token.pk, revoked_at=None), revoked_at=timezone.now()):
        audit.record(by, "token.revoke", token)
    token.refresh_from_db()


def authenticate(secret: str) -> Person | None:
    """Return the person whose token this is, narrowed to its scope; None when it opens no door."""
    token = Token.objects.select_related("person").filter(digest=Token.digest_of(secret)).first()
    if token is None or not token.is_valid or not token.person.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_STEP:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
    token.person.token_scope = token.scope
    return token.person


def remember(by: Person, **preferences: Any) -> None:
    """Keep preferences of pages (chosen columns, filters) with the person."""
    by.preferences = {**by.preferences, **preferences}
    by.save(update_fields=["preferences"])


def _known_role(role: str) -> str:
    if role not in Role.values:
        raise Refused.one(f"Unknown role {role!r}; use one of {', '.join(Role.values)}.", "role")
    return role


def _keep_an_administrator(person: Person, *, role: str, active: bool) -> None:
    others = Person.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exclude(pk=person.pk)
    if not (role == Role.ADMINISTRATOR and active) and not others.exists():
        raise Refused.one("This is the last administrator; make another one first.", "role")


def _check_password(person: Person, password: str) -> None:
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise Refused([{"field": "password", "message": text} for text in error.messages]) from None


def _as_errors(error: Exception) -> list[dict[str, Any]]:
    if isinstance(error, ValidationError) and hasattr(error, "message_dict"):
        return [
            {"field": field, "message": text} for field, texts in error.message_dict.items() for text in texts
        ]
    return [{"field": "username", "message": "This name is taken."}]
