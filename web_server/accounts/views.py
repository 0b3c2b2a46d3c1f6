"""Login, and the account with its tokens."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash, views
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from web_server.accounts import services
from web_server.accounts.forms import LoginForm, PasswordForm, TokenForm
from web_server.accounts.models import Token
from web_server.lib.errors import ServiceError
from web_server.page import act, page, refuse_into


class Login(views.LoginView):
    """The one page strangers see."""

    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True


def _account(request: HttpRequest, status: int = 200, **more: Any) -> HttpResponse:
    person: Any = request.user
    shown = {"token_form": TokenForm(person), "password_form": PasswordForm(), "secret": "", **more}
    tokens = person.tokens.all()[:200]
    return page(request, "accounts/account.html", "account", status=status, tokens=tokens, **shown)


@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Show who one is, one's tokens and the password form."""
    return _account(request)


@never_cache
@require_POST
def issue_token(request: HttpRequest) -> HttpResponse:
    """Make a token and show its secret, this once."""
    person: Any = request.user
    form = TokenForm(person, request.POST)
    if form.is_valid():
        try:
            _, secret = services.issue_token(person, **form.cleaned_data)
        except ServiceError as error:
            refuse_into(form, error)
        else:
            return _account(request, secret=secret)
    return _account(request, 422, token_form=form)


@require_POST
def revoke_token(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """End one of one's tokens."""
    person: Any = request.user
    token = get_object_or_404(person.tokens, uuid=uuid)
    return act(
        request,
        lambda: services.revoke_token(person, token),
        f"The token {_called(token)} opens no door any more.",
        reverse("account"),
    )


def _called(token: Token) -> str:
    return f"“{token.name}”" if token.name else f"{token.beginning}…"


@require_POST
def change_password(request: HttpRequest) -> HttpResponse:
    """Set a new password, knowing the old one."""
    person: Any = request.user
    form = PasswordForm(request.POST)
    if form.is_valid() and not person.check_password(form.cleaned_data["old_password"]):
        form.add_error("old_password", "This is not your present password.")
    if form.is_valid():
        try:
            services.set_password(person, person, form.cleaned_data["password"])
        except ServiceError as error:
            refuse_into(form, error)
        else:
            update_session_auth_hash(request, person)
            messages.success(request, "The new password is in force.")
            return redirect("account")
    return _account(request, 422, password_form=form)


# There are fewer tables than this; more would only fill the row.
MOST_TABLES = 20


@require_POST
def choose_columns(request: HttpRequest) -> HttpResponse:
    """Keep which columns of a table a person hides."""
    person: Any = request.user
    try:
        asked = json.loads(request.body)
        table, hidden = str(asked["table"])[:50], str(asked["hidden"])[:500]
    except (ValueError, KeyError, TypeError):
        return HttpResponse(status=400)
    kept = {**person.preferences.get("columns", {}), table: hidden}
    if len(kept) <= MOST_TABLES:
        services.remember(person, columns=kept)
    return HttpResponse(status=204)
