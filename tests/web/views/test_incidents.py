"""The pages of incidents: every user sees them, and users with the permission close them.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`command` calls a management command and returns its output; `ann` is a user who may see every page;
`reader` is a client of a user who may see every page.
"""

import pytest
from django.contrib.auth.models import Permission
from django.utils.html import escape, strip_tags

from stores.messages.message import Message
from stores.models import Incident
from stores.models.incident import IncidentKind


@pytest.fixture
def incident(houston):
    return Incident.objects.report(
        IncidentKind.CHANNEL_FORKED,
        Message("quoted", text="Channel houston exists twice."),
        database=houston,
        detail={"epoch": 7},
    )


@pytest.fixture
def closer(reader, ann):
    """A client in which ann is signed in, who may close incidents."""
    ann.user_permissions.add(Permission.objects.get(codename="release_fence"))
    return reader


def test_an_incident_s_page_says_what_to_do(reader, incident):
    page = reader.get(incident.get_absolute_url()).content.decode()

    assert "Channel houston exists twice." in page
    assert escape(incident.next_step) in page
    assert f"incidents accept {incident.pk} --reason" in page
    assert "&quot;epoch&quot;: 7" in page
    assert "Close incident" not in page


def test_an_incident_s_page_says_what_each_command_is_for(reader, incident):
    page = " ".join(reader.get(incident.get_absolute_url()).content.decode().split())
    lines = strip_tags(page)

    accept = lines.index(f"incidents accept {incident.pk}")
    renew = lines.index(f"incidents renew {incident.pk}")
    assert lines.index("is the right one:") < accept < lines.index("of its own:") < renew
    assert "<summary>Technical details</summary>" in page


def test_closing_an_incident_is_not_the_first_choice(closer, incident):
    page = closer.get(incident.get_absolute_url()).content.decode()

    assert "Closing resolves nothing by itself" in page
    assert "btn-primary" not in page


@pytest.mark.parametrize(("channel", "count"), [("houston", 1), ("seattle", 0)])
def test_the_list_is_filtered_by_channel(reader, incident, seattle, channel, count):
    page = reader.get("/incidents/", {"status": "open", "channel": channel}).content.decode()

    assert page.count("houston exists twice") == count


@pytest.mark.parametrize("column", ["opened_at", "database", "times", "status"])
def test_every_column_sorts_in_both_directions(reader, incident, seattle, column):
    Incident.objects.report(
        IncidentKind.WRONG_DATABASE, Message("quoted", text="Not seattle."), database=seattle
    )

    for sort in (column, f"-{column}"):
        page = reader.get("/incidents/", {"sort": sort}).content.decode()
        assert page.count("Not seattle.") == 1


def test_the_csv_file_has_a_line_for_each_incident(reader, incident, seattle):
    Incident.objects.report(
        IncidentKind.WRONG_DATABASE, Message("quoted", text="Not seattle."), database=seattle
    )

    response = reader.get("/incidents/", {"_export": "csv"})

    header_and_rows = response.getvalue().decode().splitlines()
    assert len(header_and_rows) == 3


def test_an_open_incident_needs_attention_and_blocks_its_channel(reader, incident, command):
    link = f"incident {incident.pk}</a>"

    assert "Channel houston exists twice." in reader.get("/").content.decode()
    assert link in reader.get("/channels/").content.decode()
    assert link in reader.get("/channels/houston/").content.decode()
    assert "blocked" in command("channels")


def test_a_user_with_permission_closes_an_incident(closer, ann, incident):
    closer.post(f"/incidents/{incident.pk}/close/", {"reason": "Only one copy is in use."})

    incident = Incident.objects.get()
    assert (incident.closing_reason, incident.closed_by) == ("Only one copy is in use.", ann)


def test_an_incident_is_not_closed_without_a_reason(closer, incident):
    closer.post(f"/incidents/{incident.pk}/close/", {"reason": " "})

    assert Incident.objects.open().exists()


def test_a_user_without_the_permission_cannot_close_an_incident(reader, incident):
    response = reader.post(f"/incidents/{incident.pk}/close/", {"reason": "x"})

    assert response.status_code == 403
    assert Incident.objects.open().exists()


def test_a_get_request_closes_nothing(closer, incident):
    response = closer.get(f"/incidents/{incident.pk}/close/")

    assert response.status_code == 405
    assert Incident.objects.open().exists()


def test_a_restored_hq_s_incident_cannot_be_closed_by_hand(closer, hq):
    incident = Incident.objects.report(
        IncidentKind.HQ_BEHIND, Message("quoted", text="It was set back.")
    )

    closer.post(f"/incidents/{incident.pk}/close/", {"reason": "Nonsense."})

    assert Incident.objects.open().exists()
