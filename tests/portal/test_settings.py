"""An environment variable with an invalid value is an error; it does not get a default."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.finding(id="S10")

ROOT = Path(__file__).resolve().parents[2]
# Variables that a production installation needs.
PRODUCTION = {
    "SYNCLINE_SECRET_KEY": "x" * 50,
    "SYNCLINE_ALLOWED_HOSTS": "syncline.example.com",
}
SWITCH_VALUES = "must be 1, true, yes or on, or 0, false, no or off"
PRINT_SETTINGS = """
from django.core.exceptions import ImproperlyConfigured
try:
    from portal import settings
except ImproperlyConfigured as error:
    print(error)
else:
    print(settings.PRODUCTION, settings.DEBUG)
"""
DATABASE_FORM = "DATABASE_URL must have the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
REDIS_FORM = "REDIS_URL must have the form redis://HOST:PORT/NUMBER, rediss:// or unix://"
PRINT_PATHS = """
from portal import settings
print(settings.SYNCLINE_DATA_DIR)
print(settings.NUMBER_JOURNAL_DIR)
"""
PRINT_KEY = "from portal import settings; print(settings.SECRET_KEY)"


def load_settings(script: str = PRINT_SETTINGS, **variables: str) -> str:
    """Load the settings in a process. Returns what the script prints.

    That is PRODUCTION and DEBUG, or the error message.
    """
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={"PATH": "", "SYNCLINE_DATA_DIR": str(ROOT / ".syncline"), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.strip()


@pytest.mark.parametrize("value", ["1", "TRUE", " yes ", "On"])
def test_production_is_switched_on(value):
    assert load_settings(SYNCLINE_PRODUCTION=value, **PRODUCTION) == "True False"


def test_an_empty_value_means_off():
    assert load_settings(SYNCLINE_PRODUCTION="", SYNCLINE_DEBUG="off") == "False False"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SYNCLINE_PRODUCTION", "enabled", f"SYNCLINE_PRODUCTION {SWITCH_VALUES}"),
        ("SYNCLINE_PRODUCTION", "'1'", f"SYNCLINE_PRODUCTION {SWITCH_VALUES}"),
        ("SYNCLINE_DEBUG", "2", f"SYNCLINE_DEBUG {SWITCH_VALUES}"),
        (
            "SYNCLINE_RUN_LEASE_S",
            "half",
            "SYNCLINE_RUN_LEASE_S must be a whole number of at least 1",
        ),
        ("SYNCLINE_DISPATCH_S", "0", "SYNCLINE_DISPATCH_S must be a whole number of at least 1"),
        ("DATABASE_URL", "foo", "DATABASE_URL must begin with postgresql://"),
        ("DATABASE_URL", "$HOME", "DATABASE_URL must begin with postgresql://"),
        ("DATABASE_URL", "mysql://u:p@db/x", "DATABASE_URL must begin with postgresql://"),
        ("DATABASE_URL", "postgresql://u:p@db:abc/x", DATABASE_FORM),
        ("DATABASE_URL", "postgresql://u:p@[::1/x", DATABASE_FORM),
        ("DATABASE_URL", "postgresql://u:p@db", DATABASE_FORM),
        ("REDIS_URL", "foo", REDIS_FORM),
        ("REDIS_URL", "http://x", REDIS_FORM),
        ("REDIS_URL", "redis://queue:abc/0", REDIS_FORM),
        ("SYNCLINE_PROXIES", "proxy", "SYNCLINE_PROXIES must list addresses or networks"),
    ],
)
def test_an_invalid_value_is_an_error(name, value, message):
    assert load_settings(**{name: value}) == message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db.example.com:5432/hq",
        "postgres:///hq",
        "PostgreSQL://u:p@db.example.com/hq",
        "postgresql://u@/hq?host=/run/postgresql",
        "postgresql://u:p@[::1]:5432/hq",
    ],
)
def test_a_database_url_can_have_every_form_of_postgresql(url):
    assert load_settings(DATABASE_URL=url) == "False False"


def test_an_empty_folder_means_the_default():
    assert load_settings(PRINT_PATHS, SYNCLINE_DATA_DIR="", SYNCLINE_JOURNAL_DIR="").split() == [
        str(ROOT / ".syncline"),
        str(ROOT / ".syncline" / "journal"),
    ]


def test_a_secret_key_may_begin_with_a_dollar_sign():
    key = "$" + "x" * 50

    assert load_settings(PRINT_KEY, SYNCLINE_SECRET_KEY=key) == key
