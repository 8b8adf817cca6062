"""Every setting, in one file; the only reader of the environment. docs/configuration.md explains each."""

import base64
import contextlib
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import environ
from csp.constants import NONE, SELF

from .broker import embedded_broker_url

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# --- Where state lives -------------------------------------------------------------------------------------------
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
SFTP_ROOT = DATA_DIR / "sftp"
STAGING_DIR = DATA_DIR / "staging"
BADKEYS_BLOCKLIST_DIR = Path(env.str("BADKEYS_BLOCKLIST_DIR", default=str(DATA_DIR / "badkeys"))).resolve()


def _kept_secret(path: Path, made: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
    """The secret in `path`, made at random the first time; readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        fresh.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
        fresh.write_text(made(), encoding="ascii")
        with contextlib.suppress(FileExistsError):  # another process of this start was first: its secret is ours
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text(encoding="ascii").strip()


def _origin(address: str) -> str:
    return "/".join(address.split("/")[:3])


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii")


try:
    SECRET_KEY = env.str("SECRET_KEY", default="") or _kept_secret(DATA_DIR / "secret-key")
except OSError as error:
    sys.exit(f"DATA_DIR cannot be used ({error}). Set it to a directory that this program may make and write in.")
# What the portal keeps sealed (its private keys for SFTP hosts): the first seals, all open.
SECRETS_KEYS = [key.strip() for key in env.list("SECRETS_KEYS", default=[]) if key.strip()]
with contextlib.suppress(OSError):  # some commands need no data directory; who needs a key is told that there is none
    SECRETS_KEYS = SECRETS_KEYS or [_kept_secret(DATA_DIR / "secrets-key", _fernet_key)]

# --- Where people and programs reach us --------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
PORT = env.int("PORT", default=8000)
BIND_ADDRESS = env.str("BIND_ADDRESS", default="127.0.0.1")
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://localhost:{PORT}").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SFTP_PORT = env.int("SFTP_PORT", default=2222)
SFTP_REFUSE_TIMES = env.bool("SFTP_REFUSE_TIMES", default=False)
SFTP_HOST_NAME = env.str("SFTP_HOST_NAME", default="localhost")
VENDOR_NAME = env.str("VENDOR_NAME", default="Example School Systems")
DEMO = env.bool("DEMO", default=True)

# --- Parts: database, broker, mail -------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'portal.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # Without IMMEDIATE two writers that began as readers fail at once instead of waiting for each other.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"]["CONN_MAX_AGE"] = 60
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BROKER_URL = env.str("BROKER_URL", default="") or embedded_broker_url(DATA_DIR)
BROKER_IS_EMBEDDED = not env.str("BROKER_URL", default="")

# Without an address of a mail server, notices stay in the outbox page and go nowhere.
EMAIL_URL = env.str("EMAIL_URL", default="")
if EMAIL_URL:
    vars().update(env.email_url("EMAIL_URL"))
# Shorter than a lease: a mail server that says nothing must not hold a worker, nor the letter be taken twice.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="SFTP Portal <portal@localhost>")

# --- How the work is paced ---------------------------------------------------------------------------------------
INGEST_LOOK_SECONDS = env.int("INGEST_LOOK_SECONDS", default=5)
INGEST_ROTA_HOURS = env.int("INGEST_ROTA_HOURS", default=3)
INGEST_QUIET_SECONDS = env.int("INGEST_QUIET_SECONDS", default=10)
INGEST_AUTO_QUIET_SECONDS = env.int("INGEST_AUTO_QUIET_SECONDS", default=120)
INGEST_STALLED_HOURS = env.int("INGEST_STALLED_HOURS", default=6)
INGEST_STRANGER_QUIET_MINUTES = env.int("INGEST_STRANGER_QUIET_MINUTES", default=10)
INGEST_FINDINGS_PER_CODE = env.int("INGEST_FINDINGS_PER_CODE", default=100)
INGEST_FINDINGS_LISTED = env.int("INGEST_FINDINGS_LISTED", default=1_000_000)
INGEST_HISTORY_DAYS = env.int("INGEST_HISTORY_DAYS", default=400)
INGEST_SUPERSEDE = env.bool("INGEST_SUPERSEDE", default=True)
GUARD_ADDED_PERCENT = env.int("GUARD_ADDED_PERCENT", default=50)
GUARD_ADDED_FLOOR = env.int("GUARD_ADDED_FLOOR", default=50)
GUARD_CHANGED_PERCENT = env.int("GUARD_CHANGED_PERCENT", default=50)
GUARD_CHANGED_FLOOR = env.int("GUARD_CHANGED_FLOOR", default=20)
GUARD_REMOVED_PERCENT = env.int("GUARD_REMOVED_PERCENT", default=10)
GUARD_REMOVED_FLOOR = env.int("GUARD_REMOVED_FLOOR", default=5)
GUARD_SMALLER_PERCENT = env.int("GUARD_SMALLER_PERCENT", default=50)
GUARD_AGE_DAYS = env.int("GUARD_AGE_DAYS", default=7)
GUARD_SCHOOL_YEAR = env.bool("GUARD_SCHOOL_YEAR", default=True)
GUARD_QUIET_DAYS = env.int("GUARD_QUIET_DAYS", default=7)
TRIAL_MOST_MEGABYTES = env.int("TRIAL_MOST_MEGABYTES", default=2048)
TRIAL_MOST_FILES = env.int("TRIAL_MOST_FILES", default=60)
TRIALS_PER_HOUR = env.int("TRIALS_PER_HOUR", default=20)
TRIALS_AT_ONCE = env.int("TRIALS_AT_ONCE", default=1)
TRIAL_MINUTES = env.int("TRIAL_MINUTES", default=15)
TRIAL_RESULT_HOURS = env.int("TRIAL_RESULT_HOURS", default=24)
SWEEP_SECONDS = env.int("SWEEP_SECONDS", default=15)
LEASE_SECONDS = env.int("LEASE_SECONDS", default=30)
SIGN_IN_EVENTS_SECONDS = env.int("SIGN_IN_EVENTS_SECONDS", default=5)
WORKER_PROCESSES = env.int("WORKER_PROCESSES", default=2)
HOST_THREADS = env.int("HOST_THREADS", default=16)
WEB_THREADS = env.int("WEB_THREADS", default=8)
INVITATION_DAYS = env.int("INVITATION_DAYS", default=7)
PROCESSED_DAYS = env.int("PROCESSED_DAYS", default=30)
KEY_GRACE_DAYS = env.int("KEY_GRACE_DAYS", default=14)
FIRST_USER_NUMBER = env.int("FIRST_USER_NUMBER", default=66000)
PROPAGATION_MOST_UNASKED_KEYS = env.int("PROPAGATION_MOST_UNASKED_KEYS", default=20)
PROPAGATION_MOST_UNASKED_PERCENT = env.int("PROPAGATION_MOST_UNASKED_PERCENT", default=2)

# --- Django ------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "django_celery_beat",
    "django_filters",
    "django_htmx",
    "django_include_bootstrap",
    "django_tables2",
    "heroicons",
    "hosts",
    "accounts",
    "keys",
    "ingest",
    "portal",
]
MIDDLEWARE = [
    "portal.tracing.Traced",
    # Before whoever asks whether a request came over TLS.
    "portal.headers.ProxiesOfOurs",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.headers.PermissionsPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Deny by default: a view opens itself to signed-out visitors with @login_not_required, or not at all.
    "accounts.middleware.SignInFirst",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    # After allauth's own: it leads people who are to prove who they are to the page for it.
    "accounts.middleware.SecondFactorFirst",
    "accounts.middleware.PersonTimeZone",
    "accounts.middleware.SessionSeen",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.pages.frame",
            ],
        },
    }
]
FORM_RENDERER = "portal.forms.Renderer"
SERIALIZATION_MODULES = {"jsonl": "portal.exact"}
DEFAULT_EXCEPTION_REPORTER_FILTER = "portal.reports.Filter"
DJANGO_TABLES2_TEMPLATE = "django_tables2/portal.html"
LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="America/New_York")
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 300
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

# --- People and sign-in ------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
# The first one makes them; one kept by another is made anew at its next sign-in.
PASSWORD_HASHERS = ["accounts.hashers.Argon2", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "accounts.adapter.Adapter"
ACCOUNT_FORMS = {"user_token": "accounts.forms.ResetLink"}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
# A letter after each change of password, address or second factor: whoever did not make it learns of it.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = None
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = False
# Wrong passwords are counted by account and address together (accounts/lockout.py): a limit by the account alone, as
# allauth has it, would let any stranger shut a district out.
ACCOUNT_RATE_LIMITS = {"login_failed": None}
# The demonstration on one machine lets staff in with a password alone, and says so; a portal of one's own does not.
SECOND_FACTOR_REQUIRED = env.bool("SECOND_FACTOR_REQUIRED", default=not DEMO or PUBLIC_URL.startswith("https://"))
MFA_ADAPTER = "accounts.second_factor.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
# A passkey is two factors at once, so it signs in alone: what holds it, and the finger, face or PIN that unlocks it.
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_USER_VERIFICATION = "required"
MFA_FORMS = {
    "authenticate": "accounts.codes.SignInCode",
    "reauthenticate": "accounts.codes.CodeOnceMore",
    "activate_totp": "accounts.codes.FirstCode",
    "add_webauthn": "accounts.passkeys.NewPasskey",
    "edit_webauthn": "accounts.passkeys.PasskeyName",
    "login_webauthn": "accounts.passkeys.SignInPasskey",
    "authenticate_webauthn": "accounts.passkeys.SecondPasskey",
    "reauthenticate_webauthn": "accounts.passkeys.PasskeyOnceMore",
}
# A telephone's clock may be half a minute off; no code is taken twice (accounts/codes.py).
MFA_TOTP_TOLERANCE = 1
# All people are invited by mail, so their addresses are known; otherwise a change of address that waits for its mail
# would keep them from the second factor they must have, and the second factor from a change of address.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Other providers that people may sign in by: a list of objects with id, name, issuer, client_id and secret.
try:
    OPENID_PROVIDERS = env.json("OPENID_PROVIDERS", default=[])
except ValueError as error:
    sys.exit(f"OPENID_PROVIDERS is not JSON ({error}). docs/operations.md shows how it is written.")
SOCIALACCOUNT_ADAPTER = "accounts.openid.SocialAdapter"
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"provider_class": "accounts.openid.Provider", "OAUTH_PKCE_ENABLED": True}}
# Only where a district has pinned issuer and domain (accounts/openid.py); then the account is theirs for good.
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
# A change of keys wants a sign-in not older than this.
FRESH_SIGN_IN_SECONDS = env.int("FRESH_SIGN_IN_SECONDS", default=300)
ACCOUNT_REAUTHENTICATION_TIMEOUT = FRESH_SIGN_IN_SECONDS

# --- Keys --------------------------------------------------------------------------------------------------------
RSA_MINIMUM_BITS = max(2048, env.int("RSA_MINIMUM_BITS", default=2048))

# --- Doors -------------------------------------------------------------------------------------------------------
TRUSTED_PROXIES = [place.strip() for place in env.list("TRUSTED_PROXIES", default=[]) if place.strip()]
IS_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
# Of others than TRUSTED_PROXIES it is taken away first (portal/headers.py).
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_HTTPS else None
SECURE_SSL_REDIRECT = IS_HTTPS
# `up` asks the web process itself, on the loopback and without a proxy.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
# Cookies are shared by all ports of localhost: a name of our own keeps two portals on one machine apart.
SESSION_COOKIE_NAME = f"portal_session_{PORT}" if not IS_HTTPS else "portal_session"
CSRF_COOKIE_NAME = f"portal_csrf_{PORT}" if not IS_HTTPS else "portal_csrf"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # The button that leads to another provider sends a form, and the browser follows it there.
        "form-action": [SELF, *sorted({_origin(one.get("issuer", "")) for one in OPENID_PROVIDERS})],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
SILENCED_SYSTEM_CHECKS = [
    # Plain HTTP on localhost is the embedded default; behind PUBLIC_URL=https://... these are all on.
    *([] if IS_HTTPS else ["security.W004", "security.W008", "security.W012", "security.W016"]),
    # Preloading a vendor's whole domain is the vendor's decision, not ours.
    "security.W005",
    "security.W021",
]

# --- Logs: to standard error, no student data, no key text -------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("LOG_FORMAT", default="line")
# Without one there is no page of figures for Prometheus.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        # One object a line, for machines; whatever a line was given besides stands in it under its own name.
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "{asctime}{levelname}{name}{trace}{message}",
            "style": "{",
            "rename_fields": {"asctime": "at", "levelname": "level", "name": "logger"},
        },
    },
    "filters": {"trace": {"()": "portal.tracing.Trace"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["trace"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # All that it meets is told by `hosts`; its own tracebacks would be a second, longer word for it.
    "loggers": {"paramiko": {"level": "CRITICAL"}},
}
