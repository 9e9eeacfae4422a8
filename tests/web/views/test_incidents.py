"""Incidents on pages: seen by everybody, closed by those who may, with a reason."""

import pytest
from django.contrib.auth.models import Permission
from django.utils.html import escape

from stores.models import Incident
from stores.models.incident import IncidentKind


@pytest.fixture
def incident(houston):
    return Incident.objects.report(
        IncidentKind.CHANNEL_FORKED,
        "Channel houston exists twice.",
        database=houston,
        detail={"epoch": 7},
    )


@pytest.fixture
def guard(reader, ann):
    """A client in which a person is signed in who may release the fence."""
    ann.user_permissions.add(Permission.objects.get(codename="release_fence"))
    return reader


def test_an_incident_says_what_is_wrong_and_what_to_do(reader, incident):
    page = reader.get(incident.get_absolute_url()).content.decode()

    assert "Channel houston exists twice." in page
    assert escape(incident.next_step) in page
    assert f"incidents accept {incident.pk} --reason" in page
    assert "&quot;epoch&quot;: 7" in page
    assert "Close incident" not in page


def test_the_list_finds_open_ones_by_channel(reader, incident, seattle):
    for wanted, expected in (("houston", 1), ("seattle", 0)):
        page = reader.get("/incidents/", {"status": "open", "channel": wanted})
        assert page.content.decode().count("houston exists twice") == expected


def test_every_column_of_the_list_sorts_both_ways_and_the_csv_has_it(reader, incident, seattle):
    Incident.objects.report(IncidentKind.WRONG_DATABASE, "Not seattle.", database=seattle)
    for order in ("opened_at", "database", "times", "status"):
        for sign in ("", "-"):
            page = reader.get("/incidents/", {"sort": sign + order}).content.decode()
            assert page.count("Not seattle.") == 1

    csv = b"".join(reader.get("/incidents/", {"_export": "csv"}).streaming_content).decode()
    assert len(csv.splitlines()) == 3


def test_an_open_incident_is_a_concern_and_its_channel_is_blocked(reader, incident, command):
    assert "Channel houston exists twice." in reader.get("/").content.decode()
    for path in ("/channels/", "/channels/houston/"):
        assert f"incident {incident.pk}</a>" in reader.get(path).content.decode()
    assert "blocked" in command("channels")


def test_whoever_may_closes_it_with_a_reason(guard, ann, incident):
    address = f"/incidents/{incident.pk}/close/"

    guard.post(address, {"reason": " "})
    assert Incident.objects.open().exists()
    guard.post(address, {"reason": "Only one copy is in use."})

    closed = Incident.objects.get()
    assert (closed.closing_reason, closed.closed_by) == ("Only one copy is in use.", ann)


def test_nobody_else_closes_it(reader, incident):
    answer = reader.post(f"/incidents/{incident.pk}/close/", {"reason": "x"})

    assert answer.status_code == 403
    assert Incident.objects.open().exists()


def test_looking_at_the_address_closes_nothing(guard, incident):
    assert guard.get(f"/incidents/{incident.pk}/close/").status_code == 405
    assert Incident.objects.open().exists()


def test_a_headquarters_that_is_behind_is_not_closed_by_hand(guard, hq):
    incident = Incident.objects.report(IncidentKind.HQ_BEHIND, "It was set back.")

    guard.post(f"/incidents/{incident.pk}/close/", {"reason": "Nonsense."})

    assert Incident.objects.open().exists()
