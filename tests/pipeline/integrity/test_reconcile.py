"""Reconcile: what differs between HQ and a channel is found on both engines, named and mended."""

import pytest
from django.core.management import call_command

from stores.channeldb.connect.url import sqlite_path
from stores.models import AsyncContact, Delivery, Incident
from tests.support.damage import broken, damage, damage_channel, named, reconciled
from tests.support.make import query, run

pytestmark = pytest.mark.slow


def test_where_nothing_differs_nothing_is_said_or_written(ring, capsys):
    status, found = reconciled(capsys, "--fix")

    assert (status, found["ok"], named(found)) == (0, True, {})
    assert all(channel["counts"]["compared"] for channel in found["channels"])
    assert not Delivery.objects.owed().exists()


@pytest.mark.fault("F-36")
def test_what_a_channel_thinks_hq_holds_is_fetched_again(ring, capsys):
    damage(
        "DELETE FROM async_contact; UPDATE upload_session SET read = read - 1, staged = staged - 1"
    )

    status, found = reconciled(capsys)
    assert (status, found["ok"]) == (1, False)
    assert named(found) == {"houston": {"unknown_at_hq"}, "popup": {"unknown_at_hq"}}
    assert run("P-0001")["outcome"] == "nothing_to_do"

    assert reconciled(capsys, "--fix")[0] == 1
    run("pipeline")

    assert AsyncContact.objects.count() == 2
    assert reconciled(capsys)[0] == 0


def test_five_customers_that_a_channel_lost_or_set_back_are_sent_again(ring, capsys):
    for store, statement in (
        (ring[0], "DELETE FROM customer"),
        (ring[0], "DELETE FROM account_map"),
        (ring[1], "UPDATE customer SET hq_version = 0, last_name = 'X'"),
    ):
        query(store, statement)

    status, found = reconciled(capsys, "--fix")
    assert (status, named(found)) == (1, {"houston": {"not_arrived"}, "popup": {"not_arrived"}})
    run("1010")

    assert reconciled(capsys)[0] == 0
    assert broken() == {}
    assert query(ring[1], "SELECT DISTINCT last_name FROM customer") == [("Lee",)]


def test_what_vanished_from_a_channel_is_told(ring, capsys):
    query(ring[0], "DELETE FROM async_contact")

    assert named(reconciled(capsys, "--fix")[1]) == {"houston": {"gone_from_channel"}}
    assert not Incident.objects.exists()


def test_an_event_that_was_changed_is_an_incident(ring, capsys):
    damage_channel(ring[1], "UPDATE async_customer SET phone = '1'")

    assert named(reconciled(capsys, "--fix")[1]) == {"popup": {"changed"}}
    assert Incident.objects.open().get().kind == "content_changed"


def test_an_account_that_hq_did_not_give_is_an_incident_and_blocks(ring, capsys):
    query(ring[0], "UPDATE account_map SET account_number = '005001'")

    assert "foreign_account" in named(reconciled(capsys, "--fix")[1])["houston"]
    assert Incident.objects.open().get().kind == "forgotten_account"
    assert run("P-0001")["outcome"] == "partly"


def test_a_channel_that_cannot_be_reached_stops_no_other(ring, capsys):
    path = sqlite_path(ring[1])
    path.rename(path.with_suffix(".away"))
    status, found = reconciled(capsys)
    path.with_suffix(".away").rename(path)

    assert status == 1
    outcomes = {channel["channel"]: channel["outcome"] for channel in found["channels"]}
    assert outcomes == {"houston": "succeeded", "popup": "failed"}


def test_only_the_named_channel_is_compared(ring, capsys):
    found = reconciled(capsys, "--channel", "popup")[1]

    assert [channel["channel"] for channel in found["channels"]] == ["popup"]


def test_an_unknown_channel_is_a_wrong_argument(hq):
    with pytest.raises(Exception, match="There is no channel 'nowhere'") as error:
        call_command("reconcile", "--channel", "nowhere")

    assert error.value.returncode == 2
