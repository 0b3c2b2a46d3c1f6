"""Settings of the Django project, read from the environment and `.env` (names: README, "Settings").

A secret may also come from a file: `CELLYARD_SECRET_KEY_FILE=/run/secrets/key` and so on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from csp.constants import NONE, SELF
from environs import FileAwareEnv

from web_server.api.conf import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401
from web_server.lib import logs, secret

BASE_DIR = Path(__file__).resolve().parent.parent
# A secret file ends with a newline, which is not part of the secret.
env = FileAwareEnv(strip_whitespace=True)
env.read_env(BASE_DIR / ".env", recurse=False)


class Cellyard(msgspec.Struct, frozen=True, kw_only=True):
    """Cellyard's own settings, read once."""

    state_dir: Path
    bind: str
    web_port: int
    mqtt_url: str
    mqtt_ca: str
    mqtt_prefix: str
    admin_password: str
    https: bool
    log_format: str


CELLYARD = Cellyard(
    state_dir=Path(env.str("CELLYARD_STATE_DIR", "") or BASE_DIR / "var").resolve(),
    bind=env.str("CELLYARD_BIND", "127.0.0.1"),
    web_port=env.int("CELLYARD_WEB_PORT", 8000),
    # Empty = the embedded broker, whose address `devops.up` puts into the environment.
    mqtt_url=env.str("CELLYARD_MQTT_URL", ""),
    mqtt_ca=env.str("CELLYARD_MQTT_CA", ""),
    mqtt_prefix=env.str("CELLYARD_MQTT_PREFIX", "cellyard/v1"),
    admin_password=env.str("CELLYARD_ADMIN_PASSWORD", ""),
    https=env.bool("CELLYARD_HTTPS", False),
    log_format=env.str("CELLYARD_LOG_FORMAT", "text"),
)
# The database and the secrets lie there: nobody else looks in.
CELLYARD.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

DEBUG = env.bool("CELLYARD_DEBUG", False)
SECRET_KEY = env.str("CELLYARD_SECRET_KEY", "") or secret.read_or_make(CELLYARD.state_dir / "secret-key")
ALLOWED_HOSTS = env.list("CELLYARD_HOSTS", [], subcast=str) or list(
    {"localhost", "127.0.0.1", "[::1]"} | ({CELLYARD.bind} - {"0.0.0.0", "::"})
)
CSRF_TRUSTED_ORIGINS = env.list("CELLYARD_ORIGINS", [], subcast=str)

INSTALLED_APPS = [
    "web_server",
    "web_server.accounts",
    "web_server.lab",
    "web_server.cells",
    "web_server.profiles",
    "web_server.experiments",
    "web_server.measurements",
    "web_server.commands",
    "web_server.notices",
    "web_server.api",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Login everywhere: a view that strangers may see says so with @login_not_required.
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "web_server.accounts.middleware.OriginMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "web_server.urls"
ASGI_APPLICATION = "web_server.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    """Return the database of ``CELLYARD_DATABASE_URL`` with the options its engine needs."""
    database: dict[str, Any] = env.dj_db_url(
        "CELLYARD_DATABASE_URL", f"sqlite:///{CELLYARD.state_dir / 'cellyard.sqlite3'}"
    )
    # Event streams outlive requests: a kept connection per thread would pile up.
    database["CONN_MAX_AGE"] = 0
    database["ATOMIC_REQUESTS"] = False
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"].endswith("sqlite3"):
        # With Django's defaults three writers saw 1081 "database is locked" in 1131 transactions.
        options.update(
            transaction_mode="IMMEDIATE",
            timeout=20,
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        )
    elif database["ENGINE"].endswith("mysql"):
        options.update(
            charset="utf8mb4",
            # Conditional UPDATEs must see what others committed, not this transaction's snapshot.
            isolation_level="read committed",
            init_command="SET sql_mode='STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
            "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout=20",
        )
        # Names are compared without regard to case or accents, as people read them.
        database.setdefault("TEST", {})["CHARSET"] = "utf8mb4"
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.Person"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
# Images collect the files once with hashed names; `make up` serves them from where they lie.
STATIC_HASHED = env.bool("CELLYARD_STATIC_HASHED", False)
STATIC_ROOT = Path(env.str("CELLYARD_STATIC_ROOT", "") or BASE_DIR / "staticfiles") if STATIC_HASHED else None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_HASHED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not STATIC_HASHED

# A profile with its drive tables may be large; the broker's limit (900 kB) is checked at filing.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CELLYARD.https
# Whoever sets CELLYARD_HTTPS ends TLS in a proxy that sets this header; nobody else is believed.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CELLYARD.https else None
SECURE_HSTS_SECONDS = 31_536_000 if CELLYARD.https else 0
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

LOGGING = logs.config(env.str("CELLYARD_LOG", "INFO"), CELLYARD.log_format)
