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


def load_settings(**variables: str) -> str:
    """Load the settings in a process. Returns PRODUCTION and DEBUG, or the error message."""
    process = subprocess.run(
        [sys.executable, "-c", PRINT_SETTINGS],
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
    ],
)
def test_an_invalid_value_is_an_error(name, value, message):
    assert load_settings(**{name: value}) == message
