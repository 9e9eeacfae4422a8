"""Environment variables: a value that is not understood is an error, not a default."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def told(**variables: str) -> str:
    """What loading the settings says with these variables; how they read PRODUCTION otherwise."""
    script = (
        "from django.core.exceptions import ImproperlyConfigured\n"
        "try:\n    from portal import settings\n    print(settings.PRODUCTION, settings.DEBUG)\n"
        "except ImproperlyConfigured as refusal:\n    print(refusal)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": "", "SYNCLINE_DATA_DIR": str(ROOT / ".syncline"), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


GOOD = {"SYNCLINE_SECRET_KEY": "x" * 50, "SYNCLINE_ALLOWED_HOSTS": "syncline.example.com"}
WORDS = "must be 1, true, yes or on, or 0, false, no or off"


@pytest.mark.parametrize("word", ["1", "TRUE", " yes ", "On"])
def test_s10_known_words_switch_production_on(word):
    assert told(SYNCLINE_PRODUCTION=word, **GOOD) == "True False"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SYNCLINE_PRODUCTION", "enabled", f"SYNCLINE_PRODUCTION {WORDS}"),
        ("SYNCLINE_PRODUCTION", "'1'", f"SYNCLINE_PRODUCTION {WORDS}"),
        ("SYNCLINE_DEBUG", "2", f"SYNCLINE_DEBUG {WORDS}"),
        (
            "SYNCLINE_RUN_LEASE_S",
            "half",
            "SYNCLINE_RUN_LEASE_S must be a whole number of at least 1",
        ),
        ("SYNCLINE_DISPATCH_S", "0", "SYNCLINE_DISPATCH_S must be a whole number of at least 1"),
    ],
)
def test_s10_any_other_word_is_an_error(name, value, sentence):
    assert told(**{name: value}) == sentence


def test_s10_what_is_empty_is_off():
    assert told(SYNCLINE_PRODUCTION="", SYNCLINE_DEBUG="off") == "False False"
