"""What people type about themselves."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm

from web_server.accounts.models import Person
from web_server.accounts.roles import Role, at_least
from web_server.accounts.services import TOKEN_DAYS, TOKEN_DAYS_MAX
from web_server.lib import inputs


class LoginForm(AuthenticationForm):
    """Name and password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        self.fields["username"].label = "Name"
        for name, hint in (("username", "username"), ("password", "current-password")):
            self.fields[name].widget.attrs.update({"class": "form-control", "autocomplete": hint})


class TokenForm(inputs.Styled):
    """What a new token may do, and how long."""

    name = inputs.text("What it is for", hint="For example: the notebook on my desk.")
    scope = forms.ChoiceField(label="May do what", help_text="Never more than you may.")
    expires_in_days = inputs.number("Ends after", "days", whole=True, required=True)

    def __init__(self, person: Person, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = [(role, label) for role, label in Role.choices if at_least(person.role, role)]
        scope = self.fields["scope"]
        assert isinstance(scope, forms.ChoiceField)
        scope.choices = allowed
        scope.initial = allowed[-1][0]
        self.fields["expires_in_days"].initial = TOKEN_DAYS
        self.fields["expires_in_days"].help_text = f"At most {TOKEN_DAYS_MAX}."


class PasswordForm(inputs.Styled):
    """The old password and a new one."""

    old_password = forms.CharField(
        label="Present password", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    password = forms.CharField(
        label="New password", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
