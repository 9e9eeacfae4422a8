"""Incidents: opened once, seen again, closed with a reason.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL.
"""

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from stores.messages.message import Message
from stores.models import Incident
from stores.models.incident import IncidentKind


def report(database=None, subject=""):
    return Incident.objects.report(
        IncidentKind.CHANNEL_RESTORED,
        Message("quoted", text="It was set back."),
        database=database,
        subject=subject,
    )


def test_an_incident_seen_again_is_counted_and_not_opened_twice(houston):
    first, second = report(houston), report(houston)

    assert first.pk == second.pk
    assert second.times == 2


def test_an_incident_of_no_known_kind_is_refused(hq):
    with pytest.raises(IntegrityError, match="incident_kind_is_known"), transaction.atomic():
        Incident.objects.report("odd", Message("quoted", text="It is odd."))


def test_an_incident_without_a_channel_is_opened_once_too(hq):
    assert report().pk == report().pk


def test_incidents_of_two_channels_are_two(houston, seattle):
    assert report(houston).pk != report(seattle).pk


def test_a_closed_incident_is_opened_anew_when_it_happens_again(houston):
    first = report(houston)

    assert first.close("The backup was wanted.")
    assert not first.close("Again.")
    assert report(houston).pk != first.pk


def test_nobody_closes_an_incident_without_a_reason(houston):
    incident = report(houston)

    with pytest.raises(IntegrityError, match="closed_with_a_reason"), transaction.atomic():
        incident.close("")


@pytest.mark.parametrize("number", ["7", "9" * 30])
def test_an_incident_that_does_not_exist_is_told_in_words(hq, number):
    with pytest.raises(CommandError) as refused:
        call_command("incidents", "close", number, "--reason", "A test.")

    assert refused.value.returncode == 2
    assert str(refused.value) == f"There is no incident {number}."


def test_a_closed_incident_cannot_be_closed_by_the_command(houston):
    incident = report(houston)
    incident.close("The backup was wanted.")

    with pytest.raises(CommandError) as refused:
        call_command("incidents", "close", str(incident.pk), "--reason", "Again.")

    assert refused.value.returncode == 1
    assert str(refused.value) == f"Incident {incident.pk} is already closed."


@pytest.mark.parametrize("number", ["abc", "-"])
def test_an_incident_is_named_by_a_number(hq, number):
    with pytest.raises(CommandError) as refused:
        call_command("incidents", "close", number, "--reason", "A test.")

    assert refused.value.returncode == 2
    assert str(refused.value) == f"argument ID: {number!r} is not a whole number"
