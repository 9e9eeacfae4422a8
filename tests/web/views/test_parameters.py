"""The page of parameters shows each effective value, where it comes from, and how to change it.

From conftest.py: `boss` is a client of an administrator.
"""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils.html import strip_tags

from stores.models import Parameter
from stores.models.parameter import ParameterName, parameter
from stores.models.schedule import continuous_pause

pytestmark = pytest.mark.slow


def text_of(client: Client) -> str:
    """The text of the page, with single spaces."""
    return re.sub(r"\s+", " ", unescape(strip_tags(client.get("/parameters/").content.decode())))


def test_a_value_that_a_variable_sets_is_shown_with_it(boss, settings):
    settings.DETAILS_KEPT_DAYS = 7
    settings.VARIABLES_SET = frozenset({"SYNCLINE_DETAILS_KEPT_DAYS"})

    assert (
        "Download sessions and visits of runs are kept for 7 days Set: SYNCLINE_DETAILS_KEPT_DAYS"
        in text_of(boss)
    )


def test_defaults_and_fixed_values_are_told_apart(boss, settings):
    settings.PIPELINE_PAUSE_S, settings.VARIABLES_SET = 3, frozenset()

    page = text_of(boss)

    assert (
        "Pause between two pipelines 3 seconds Default; SYNCLINE_PIPELINE_PAUSE_S is not set"
        in page
    )
    assert "Try count of a package in strict order 3 tries Default" in page
    assert "Longest statement 30 seconds Fixed" in page


def test_an_administrator_changes_a_parameter_by_the_link_beside_it(boss, settings):
    settings.PIPELINE_PAUSE_S = 3
    link = "/admin/stores/parameter/add/?name=PIPELINE_PAUSE_S"
    assert link in unescape(boss.get("/parameters/").content.decode())
    assert "From 1 to 86,400 seconds." in unescape(boss.get(link).content.decode())

    boss.post(link, {"name": "PIPELINE_PAUSE_S", "value": "60"})

    assert "Pause between two pipelines 60 seconds Set by an administrator" in text_of(boss)
    assert continuous_pause() == timedelta(seconds=60)


def test_a_value_holds_until_its_row_is_deleted(hq, settings):
    settings.SLOW_VISIT_S = 10
    Parameter.objects.create(name=ParameterName.SLOW_VISIT, value=5)
    assert parameter(ParameterName.SLOW_VISIT) == 5

    Parameter.objects.all().delete()

    assert parameter(ParameterName.SLOW_VISIT) == 10


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("STRICT_ORDER_TRIES", "0", "From 1 to 100 tries."),
        ("BACK_OFF_S", "181", "At most the longest pause after failed visits, which is"),
        ("PACKAGE_MAX_DAYS", "366", "From 1 to 365 days."),
        ("NONSENSE", "1", "Select a valid choice."),
    ],
)
def test_a_value_that_a_parameter_cannot_have_is_refused(boss, name, value, sentence):
    answer = boss.post("/admin/stores/parameter/add/", {"name": name, "value": value})

    assert sentence in unescape(answer.content.decode())
    assert not Parameter.objects.exists()


def test_who_may_not_change_parameters_sees_no_link(client, hq_user):
    client.force_login(hq_user)

    assert "/admin/stores/parameter" not in client.get("/parameters/").content.decode()
