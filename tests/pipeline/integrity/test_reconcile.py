"""Reconcile finds, names and repairs the differences between HQ and its channels.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `ring` has houston and popup after a run, with Ann, Bo and two quarantined addresses.
"""

import pytest
from django.core.management import CommandError, call_command

from stores.models import AsyncContact, Incident
from stores.models.job import JobCode
from tests.support.damage import damage, damage_channel, kinds_of_differences, reconcile
from tests.support.make import out_of_reach, pending, query, run
from tests.support.promises import failed_checks

pytestmark = pytest.mark.slow


def test_without_a_difference_nothing_is_reported_or_written(ring, capsys):
    status, document = reconcile(capsys, "--fix")

    assert (status, document["ok"], kinds_of_differences(document)) == (0, True, {})
    assert all(channel["counts"]["compared"] for channel in document["channels"])
    assert [pending(channel) for channel in ring] == [[]] * len(ring)


def lose_contacts() -> None:
    """Let HQ forget the contact of each channel, as after a restore."""
    damage(
        "DELETE FROM async_contact; UPDATE upload_session SET read = read - 1, staged = staged - 1"
    )


@pytest.mark.fault("F-36")  # HQ lost its last seconds
def test_events_that_hq_has_lost_are_reported(ring, capsys):
    lose_contacts()

    status, document = reconcile(capsys)

    unknown = {"houston": {"unknown_at_hq"}, "popup": {"unknown_at_hq"}}
    assert (status, document["ok"]) == (1, False)
    assert kinds_of_differences(document) == unknown
    # Only --fix lets the channels send them again.
    assert run(JobCode.UPLOAD)["outcome"] == "nothing_to_do"


@pytest.mark.fault("F-36")  # HQ lost its last seconds
def test_events_that_hq_has_lost_are_fetched_again(ring, capsys):
    lose_contacts()

    reconcile(capsys, "--fix")
    run(JobCode.PIPELINE)

    assert AsyncContact.objects.count() == 2
    assert reconcile(capsys)[0] == 0


def test_customers_lost_or_outdated_in_a_channel_are_resent(ring, houston, popup, capsys):
    query(houston, "DELETE FROM customer")
    query(houston, "DELETE FROM account_map")
    sent = query(popup, "SELECT account_number, last_name FROM customer ORDER BY 1")
    query(popup, "UPDATE customer SET hq_version = 0, last_name = 'X'")

    status, document = reconcile(capsys, "--fix")
    run(JobCode.DOWNLOAD)

    assert status == 1
    assert kinds_of_differences(document) == {"houston": {"not_arrived"}, "popup": {"not_arrived"}}
    assert reconcile(capsys)[0] == 0
    assert failed_checks() == {}
    assert query(popup, "SELECT account_number, last_name FROM customer ORDER BY 1") == sent


def test_events_that_a_channel_has_lost_are_reported(ring, houston, capsys):
    query(houston, "DELETE FROM async_contact")

    _, document = reconcile(capsys, "--fix")

    assert kinds_of_differences(document) == {"houston": {"gone_from_channel"}}
    assert not Incident.objects.exists()


def test_an_event_that_was_changed_is_an_incident(ring, popup, capsys):
    damage_channel(popup, "UPDATE async_customer SET phone = '1'")

    _, document = reconcile(capsys, "--fix")

    assert kinds_of_differences(document) == {"popup": {"changed"}}
    assert Incident.objects.open().get().kind == "content_changed"


def test_an_account_not_issued_by_hq_is_a_blocking_incident(ring, houston, capsys):
    query(houston, "UPDATE account_map SET account_number = '005001'")

    _, document = reconcile(capsys, "--fix")

    assert "foreign_account" in kinds_of_differences(document)["houston"]
    assert Incident.objects.open().get().kind == "forgotten_account"
    assert run(JobCode.UPLOAD)["outcome"] == "partly"


def test_an_unreachable_channel_does_not_stop_the_others(ring, popup, capsys):
    with out_of_reach(popup):
        status, document = reconcile(capsys)

    assert status == 1
    outcomes = {channel["channel"]: channel["outcome"] for channel in document["channels"]}
    assert outcomes == {"houston": "succeeded", "popup": "failed"}


def test_only_the_named_channel_is_compared(ring, capsys):
    _, document = reconcile(capsys, "--channel", "popup")

    assert [channel["channel"] for channel in document["channels"]] == ["popup"]


def test_an_unknown_channel_is_a_wrong_argument(hq):
    with pytest.raises(CommandError, match="There is no channel 'nowhere'") as error:
        call_command("reconcile", "--channel", "nowhere")

    assert error.value.returncode == 2
