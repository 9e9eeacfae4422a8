"""The pages of incidents: every user sees them, and users with the permission close them.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`command` calls a management command and returns its output; `ann` is a user who may see every page;
`reader` is a client of a user who may see every page.
"""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils.html import escape, strip_tags

from stores.messages.message import Message
from stores.models import Incident
from stores.models.incident import IncidentKind
from tests.support.pages import page_at, rows_of


def report(kind: IncidentKind, text: str, **fields: Any) -> Incident:
    return Incident.objects.report(kind, Message("quoted", text=text), **fields)


@pytest.fixture
def incident(houston):
    """An open incident of houston."""
    return report(
        IncidentKind.CHANNEL_FORKED,
        "Channel houston exists twice.",
        database=houston,
        detail={"epoch": 7},
    )


@pytest.fixture
def manager(reader, ann):
    """The same client as `reader`. Here ann may close incidents, too."""
    # The permission to close incidents and to recover headquarters.
    ann.user_permissions.add(Permission.objects.get(codename="release_fence"))
    return reader


def test_the_page_of_an_incident_says_what_to_do(reader, incident):
    page = page_at(reader, incident.get_absolute_url())

    assert "Channel houston exists twice." in page
    assert escape(incident.next_step) in page
    assert f"incidents accept {incident.pk} --reason" in page
    assert "Close incident" not in page


def test_the_page_of_an_incident_says_what_each_command_is_for(reader, incident):
    page = page_at(reader, incident.get_absolute_url())

    text = " ".join(strip_tags(page).split())
    assert f"is the right one: python3 manage.py incidents accept {incident.pk} " in text
    assert f"of its own: python3 manage.py incidents renew {incident.pk} " in text


def test_the_page_of_an_incident_has_technical_details(reader, incident):
    page = page_at(reader, incident.get_absolute_url())

    assert "<summary>Technical details</summary>" in page
    assert "&quot;epoch&quot;: 7" in page


def test_the_button_that_closes_an_incident_is_not_the_primary_one(manager, incident):
    page = page_at(manager, incident.get_absolute_url())

    assert "Closing resolves nothing by itself" in page
    assert "btn-primary" not in page


@pytest.mark.parametrize(("channel", "count"), [("houston", 1), ("seattle", 0)])
def test_the_list_is_filtered_by_channel(reader, incident, seattle, channel, count):
    page = page_at(reader, f"/incidents/?status=open&channel={channel}")

    assert page.count("houston exists twice") == count


@pytest.mark.parametrize(
    ("column", "in_order"),
    [
        ("opened_at", ["seattle", "houston"]),
        ("database", ["houston", "seattle"]),
        ("times", ["houston", "seattle"]),
        # Open incidents have no time of closing, which comes last.
        ("status", ["seattle", "houston"]),
    ],
)
def test_every_column_sorts_in_both_directions(reader, houston, seattle, column, in_order):
    closed = report(IncidentKind.WRONG_DATABASE, "Not seattle.", database=seattle)
    # Counted as a second time of the same incident.
    report(IncidentKind.WRONG_DATABASE, "Not seattle.", database=seattle)
    closed.close("It is seattle.")
    report(IncidentKind.CHANNEL_FORKED, "Channel houston exists twice.", database=houston)

    ascending = rows_of(reader.get("/incidents/", {"sort": column}))
    descending = rows_of(reader.get("/incidents/", {"sort": f"-{column}"}))

    assert [row.database.label for row in ascending] == in_order
    assert descending == ascending[::-1]


def test_the_csv_file_has_a_line_for_each_incident(reader, incident, seattle):
    report(IncidentKind.WRONG_DATABASE, "Not seattle.", database=seattle)

    csv_file = page_at(reader, "/incidents/?_export=csv")

    header_and_rows = csv_file.splitlines()
    assert len(header_and_rows) == 3


def test_an_open_incident_needs_attention_and_blocks_its_channel(reader, incident, command):
    link = f"Incident {incident.pk}</a>"

    assert "Channel houston exists twice." in page_at(reader, "/")
    assert link in page_at(reader, "/channels/")
    assert link in page_at(reader, "/channels/houston/")
    assert f"Incident {incident.pk} is open." in command("channels")


def test_a_user_with_permission_closes_an_incident(manager, ann, incident):
    manager.post(f"/incidents/{incident.pk}/close/", {"reason": "Only one copy is in use."})

    incident.refresh_from_db()
    assert (incident.closing_reason, incident.closed_by) == ("Only one copy is in use.", ann)


def test_an_incident_is_not_closed_without_a_reason(manager, incident):
    manager.post(f"/incidents/{incident.pk}/close/", {"reason": " "})

    assert Incident.objects.open().exists()


def test_a_user_without_the_permission_cannot_close_an_incident(reader, incident):
    response = reader.post(f"/incidents/{incident.pk}/close/", {"reason": "x"})

    assert response.status_code == 403
    assert Incident.objects.open().exists()


def test_a_get_request_closes_nothing(manager, incident):
    response = manager.get(f"/incidents/{incident.pk}/close/")

    assert response.status_code == 405
    assert Incident.objects.open().exists()


def test_nobody_can_close_the_incident_of_a_headquarters_that_is_behind(manager, hq):
    incident = report(IncidentKind.HQ_BEHIND, "It was set back.")

    manager.post(f"/incidents/{incident.pk}/close/", {"reason": "Nonsense."})

    assert Incident.objects.open().exists()
