"""Addresses of login and account."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from web_server.accounts import views

urlpatterns = [
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("account/", views.account, name="account"),
    path("account/tokens/", views.issue_token, name="token-issue"),
    path("account/tokens/<uuid:uuid>/revoke/", views.revoke_token, name="token-revoke"),
    path("account/columns/", views.choose_columns, name="columns-choose"),
    path("account/password/", views.change_password, name="password-change"),
]
