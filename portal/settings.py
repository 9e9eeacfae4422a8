"""All configuration. Only this module reads the environment; the contract names the variables."""

import binascii
import os
from base64 import urlsafe_b64decode
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED

from portal.embedded.paths import Paths

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off", "")


def text(name: str, default: str = "") -> str:
    """The value of a variable as it stands; the default where it is missing or empty."""
    return os.environ.get(name) or default


def switch(name: str) -> bool:
    """Whether a variable says yes; off where it is missing. Any other word is an error."""
    word = text(name).strip().lower()
    if word not in YES + NO:
        raise ImproperlyConfigured(f"{name} must be 1, true, yes or on, or 0, false, no or off")
    return word in YES


def whole_number(name: str, default: int) -> int:
    """A number of a variable, at least 1."""
    number = text(name).strip() or str(default)
    if not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number) >= 1):
        raise ImproperlyConfigured(f"{name} must be a whole number of at least 1")
    return int(number)


# For the page of parameters, which says where a value comes from.
VARIABLES_SET = frozenset(
    name for name in os.environ if name.startswith("SYNCLINE_") and text(name)
)

PRODUCTION = switch("SYNCLINE_PRODUCTION")
DEBUG = switch("SYNCLINE_DEBUG")
SYNCLINE_DATA_DIR = Path(text("SYNCLINE_DATA_DIR", str(BASE_DIR / ".syncline"))).resolve()
EMBEDDED = Paths(SYNCLINE_DATA_DIR)
# In production on another volume than HQ's database, and in no backup together with it.
NUMBER_JOURNAL_DIR = Path(
    text("SYNCLINE_JOURNAL_DIR", str(SYNCLINE_DATA_DIR / "journal"))
).resolve()


def secret_key() -> str:
    """The key that signs sessions and links; a fixed one is for development only."""
    key = text("SYNCLINE_SECRET_KEY")
    if PRODUCTION and len(key) < 50:
        raise ImproperlyConfigured("SYNCLINE_SECRET_KEY needs at least 50 characters in production")
    return key or "development-only-" + "0" * 40


def secrets_keys() -> list[str]:
    """The keys for stored passwords: the first encrypts, and each decrypts."""
    keys = [key.strip() for key in text("SYNCLINE_SECRETS_KEY").split(",") if key.strip()]
    for key in keys:
        try:
            is_valid = len(urlsafe_b64decode(key)) == 32
        except (binascii.Error, ValueError):
            is_valid = False
        if not is_valid:
            raise ImproperlyConfigured(
                "SYNCLINE_SECRETS_KEY must hold 32 random bytes in URL-safe base64, or several of "
                "these, separated by commas"
            )
    return keys


def allowed_hosts() -> list[str]:
    hosts = env.list("SYNCLINE_ALLOWED_HOSTS", default=[])
    if PRODUCTION and (not hosts or "*" in hosts):
        raise ImproperlyConfigured("SYNCLINE_ALLOWED_HOSTS must not be empty or * in production")
    return hosts or ["localhost", "127.0.0.1", "[::1]", "testserver"]


def networks(name: str) -> list[str]:
    """The addresses or networks that a variable lists."""
    try:
        return [str(ip_network(network)) for network in env.list(name, default=[])]
    except ValueError:
        raise ImproperlyConfigured(f"{name} must list addresses or networks") from None


def database_at(url: str) -> dict[str, Any]:
    """Connection of a PostgreSQL database by its URL."""
    scheme, _, rest = url.partition("://")
    if not rest or "postgresql" not in env.DB_SCHEMES.get(scheme.lower(), ""):
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://")
    try:
        database: dict[str, Any] = env.db_url_config(url)
    except ValueError:
        database = {}
    if not (database.get("NAME") or "service" in database.get("OPTIONS", {})):
        raise ImproperlyConfigured(
            "DATABASE_URL must have the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return database


def redis_url() -> str:
    """URL of the queue: REDIS_URL, or the embedded server's socket."""
    url = text("REDIS_URL", EMBEDDED.redis_url)
    try:
        _ = urlsplit(url).port
        is_usable = url.startswith(("redis://", "rediss://", "unix://"))
    except ValueError:  # The port is no number.
        is_usable = False
    if not is_usable:
        raise ImproperlyConfigured(
            "REDIS_URL must have the form redis://HOST:PORT/NUMBER, rediss:// or unix://"
        )
    return url


def hq_database() -> dict[str, Any]:
    """Connection of the HQ database: DATABASE_URL, or the embedded server's socket."""
    if url := text("DATABASE_URL"):
        database = database_at(url)
    else:
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": "syncline"}
        database |= {"USER": "syncline", "HOST": str(EMBEDDED.sockets), "PORT": "5432"}
    database["CONN_MAX_AGE"] = 60
    database["CONN_HEALTH_CHECKS"] = True
    database["OPTIONS"] = database.get("OPTIONS", {}) | {
        "application_name": "syncline",
        "connect_timeout": 5,
        # Unique constraints decide, whatever a server's own default is: in transactions, and (by
        # the options) for statements that commit by themselves.
        "isolation_level": ISOLATION_LEVEL_READ_COMMITTED,
        "options": "-c lock_timeout=30s -c idle_in_transaction_session_timeout=10min"
        " -c statement_timeout=30min -c client_connection_check_interval=10s"
        r" -c default_transaction_isolation=read\ committed"
        # A channel forgets what HQ has committed, so a commit must outlive HQ's server.
        " -c synchronous_commit=on"
        # Compiling our long statements takes seconds, each of them runs in a tenth of one.
        " -c jit=off -c temp_buffers=32MB",
    }
    return database


if PRODUCTION and DEBUG:
    raise ImproperlyConfigured("SYNCLINE_DEBUG cannot be used together with SYNCLINE_PRODUCTION")

SECRET_KEY = secret_key()
ALLOWED_HOSTS = allowed_hosts()

INSTALLED_APPS = [
    # What it shows is found by portal.urls: half of the commands never need it.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_tables2",
    "django_filters",
    "django_rq",
    "csp",
    "stores",
    "stores.channeldb",
]

# The policy's header must be on every response, so its middleware comes first.
MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    # Before whatever redirects to HTTPS or refuses in HTML.
    "stores.rts.middleware.ServiceResponses",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Before the first that queries the database: a session's cookie can be malformed, too.
    "portal.middleware.RefuseMalformed",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "stores.web.signin.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

# A sale with a thousand lines, each with its fields, is corrected on one page. The size of a form
# in bytes is limited as well.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
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
            ],
            "builtins": ["stores.templatetags.syncline"],
        },
    }
]

DATABASES = {"default": hq_database()}
DATABASE_ROUTERS = ["stores.channeldb.router.ChannelRouter"]
# Some tables of channels have the same names as tables of HQ; the router keeps them apart.
SILENCED_SYSTEM_CHECKS = ["models.W035"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis carries ids of steps only; nothing is lost when it is emptied.
REDIS_URL = redis_url()
RQ_QUEUES = {
    "default": {"URL": REDIS_URL, "SERIALIZER": "rq.serializers.JSONSerializer"},
}
# portal.urls serves its pages, to users with a permission; the admin needs no link of its own.
RQ_SHOW_ADMIN_LINK = False
# Its pages read messages as a worker does: JSON, never pickles.
RQ = {"JOB_CLASS": "stores.jobs.queue.StepMessage"}
# A worker without a heartbeat for this long counts as lost, even if it still holds its lock.
RUN_LEASE_S = whole_number("SYNCLINE_RUN_LEASE_S", 30)
RUN_HEARTBEAT_S = whole_number("SYNCLINE_RUN_HEARTBEAT_S", 5)
# If a channel takes longer in a scheduled run, its remaining rows wait for the next run.
VISIT_SHARE_S = 60
# A channel whose last visit took longer gets scheduled runs of its own.
SLOW_VISIT_S = 10
# Scheduled runs skip a channel that failed: at first for this long, at most for the time below.
BACK_OFF_S = 10
BACK_OFF_MOST_S = 180
# The data of a package is kept until every channel has it, but at least and at most this long. A
# channel that was away for longer gets another package.
PACKAGE_DAYS = 1
PACKAGE_MAX_DAYS = 30
# For this long, each download session and each visit of a run has a row of its own.
DETAILS_KEPT_DAYS = whole_number("SYNCLINE_DETAILS_KEPT_DAYS", 30)
# In strict order, a package that a channel refused in part this many times waits for a person.
STRICT_ORDER_TRIES = 3
# A continuous schedule, such as the pipeline's, starts this long after its last run ended.
PIPELINE_PAUSE_S = whole_number("SYNCLINE_PIPELINE_PAUSE_S", 3)
# Scheduled runs that found nothing to do are deleted after this time.
IDLE_RUNS_KEPT_S = 10 * 60
# How often each worker checks all runs.
DISPATCH_S = whole_number("SYNCLINE_DISPATCH_S", 15)
# A step that counts no rows for this long hangs: its worker's process is ended.
STEP_SILENT_S = whole_number("SYNCLINE_STEP_SILENT_S", 900)
# The longest time that a step may take, after which the worker ends it.
RUN_LIMIT_S = 4 * 60 * 60

# Where a channel's server may be, besides the public internet: names, addresses or networks. In
# production these are the networks of the stores, and have to be named.
NEARBY = ["127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
CHANNEL_HOSTS = env.list("SYNCLINE_CHANNEL_HOSTS", default=[] if PRODUCTION else NEARBY)
# Passwords of channels' databases: the folder of those that are kept in files, and the keys for
# those that HQ's database holds.
SECRETS_DIR = text("SYNCLINE_SECRETS_DIR")
# With which the command `till` calls a real-time service. Never an argument: `ps` shows those.
TILL_TOKEN = text("SYNCLINE_TILL_TOKEN")
SECRETS_KEYS = secrets_keys()
# The data folder of the embedded server has a key of its own.
SECRETS_KEY_FILE = None if text("DATABASE_URL") else EMBEDDED.secrets_key
# Timeouts of a channel's connections, in seconds: to connect, of a statement, of a lock, of an idle
# transaction, and how much longer than a statement a connection may be silent.
CHANNEL_CONNECT_S = 5
# The resolver of glibc takes its timeout from here, at the first name that the process looks up:
# seconds to wait for each name server, and how often each is asked.
os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")
CHANNEL_STATEMENT_S = 30
CHANNEL_LOCK_S = 5
CHANNEL_IDLE_S = 60
CHANNEL_GRACE_S = 15

# The proxies of ours, as addresses or networks, that say in X-Forwarded-For for whom they call. The
# real-time service needs it, if its tokens are limited to the networks of the tills.
TRUSTED_PROXIES = networks("SYNCLINE_PROXIES")

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "portal.formats"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
# In development, static files are served from their sources; a missing folder would be a warning.
STATIC_ROOT = SYNCLINE_DATA_DIR / "static" if PRODUCTION else None
WHITENOISE_USE_FINDERS = True

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_AGE = 12 * 60 * 60
# The liveness probe runs on the same computer.
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PRODUCTION
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION

DJANGO_TABLES2_TEMPLATE = "_table.html"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "filters": {"one_line_refusals": {"()": "portal.logs.OneLineRefusals"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["one_line_refusals"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "stores": {"level": "INFO"},
        "rq.worker": {"level": "WARNING"},
        "rq.job": {"level": "WARNING"},
    },
}
