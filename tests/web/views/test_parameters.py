"""The page of parameters shows each effective value, and where it comes from.

From conftest.py: `boss` is a client of an administrator.
"""

import re
from html import unescape

import pytest
from django.test import Client
from django.utils.html import strip_tags

pytestmark = pytest.mark.slow


def text_of(client: Client) -> str:
    """The text of the page, with single spaces."""
    return re.sub(r"\s+", " ", unescape(strip_tags(client.get("/parameters/").content.decode())))


def test_a_value_that_a_variable_sets_is_shown_with_it(boss, settings):
    settings.DETAILS_KEPT_DAYS = 7
    settings.VARIABLES_SET = frozenset({"SYNCLINE_DETAILS_KEPT_DAYS"})

    assert "Download sessions, visits of runs 7 days Set: SYNCLINE_DETAILS_KEPT_DAYS" in text_of(
        boss
    )


def test_defaults_and_fixed_values_are_told_apart(boss, settings):
    settings.PIPELINE_PAUSE_S, settings.VARIABLES_SET = 3, frozenset()

    page = text_of(boss)

    assert (
        "Pause between two pipelines 3 seconds Default; SYNCLINE_PIPELINE_PAUSE_S is not set"
        in page
    )
    assert "Try count of a package in strict order 3 tries Fixed" in page
