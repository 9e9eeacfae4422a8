"""The network connection to a channel, or to HQ's own database, breaks or is slow.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `at_failpoint` calls a function at a named
point of the code; `proxy` stands between HQ and the server of the channels; `hq_proxy` stands
between HQ and its own server; `proxied_houston` is a store that HQ reaches through the proxy;
`short_timeouts` lets channels time out after fractions of a second.
"""

import json
import time

import pytest
from django.db import connection

from stores.channeldb.connect import hosts
from stores.models import AsyncCustomer, ChannelDatabase, Customer, GuidMap, Incident
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from tests.support.after_a_fault import step_of, waiting
from tests.support.make import lookup, make_customer, query, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

UNREACHABLE = "Channel houston cannot be reached."
NOT_LISTENING = "Channel houston cannot be reached: nothing listens on the port of its server."
SILENT = "Channel houston cannot be reached: its server does not answer."
UNKNOWN_NAME = "Channel houston cannot be reached: the name of its server is unknown."
# Text of a statement in the transaction that HQ commits at the end of each step.
HQ_STATEMENTS = {
    "upload": b'INSERT INTO "async_customer"',
    "convert": b"INSERT INTO guid_map",
    "download": b'UPDATE "channel_database" SET "position"',
}


def names_in(database: ChannelDatabase) -> list[str]:
    """The first names that the channel's tills find, in alphabetical order."""
    return sorted(name for _, name in lookup(database))


@pytest.mark.fault("F-14")  # the outcome of a COMMIT is unknown
def test_an_acknowledgement_that_did_not_arrive_is_repeated(proxy, proxied_houston):
    make_customer(proxied_houston, "Ann")
    proxy.cut_before_commit(of=b"SET acknowledged_at")

    first = run("pipeline")
    staged, still_waiting = AsyncCustomer.objects.count(), waiting(proxied_houston)
    second = run("pipeline")

    assert first["steps"][0]["message"] == UNREACHABLE
    assert (staged, still_waiting) == (1, 1)
    assert second["steps"][0]["counts"] == {"read": 1, "unchanged": 1}
    assert waiting(proxied_houston) == 0
    assert lookup(proxied_houston) == [("005001", "Ann")]


@pytest.mark.fault("F-14")  # the outcome of a COMMIT is unknown
def test_an_acknowledgement_that_arrived_unnoticed_is_not_repeated(proxy, proxied_houston):
    make_customer(proxied_houston, "Ann")
    proxy.cut_after_commit(of=b"SET acknowledged_at")

    first = run(JobCode.UPLOAD)
    second = run("pipeline")

    assert first["outcome"] == "failed"
    assert first["message"].endswith(UNREACHABLE)
    assert waiting(proxied_houston) == 0
    assert "read" not in second["steps"][0]["counts"]
    assert lookup(proxied_houston) == [("005001", "Ann")]


@pytest.mark.fault("F-14")  # the outcome of a COMMIT is unknown
@pytest.mark.parametrize(("cut", "delivered"), [("cut_before_commit", 0), ("cut_after_commit", 1)])
def test_a_download_whose_commit_is_uncertain_is_applied_once(
    proxy, proxied_houston, cut, delivered
):
    make_customer(proxied_houston, "Ann")
    run(JobCode.UPLOAD)
    run("sync-customers")
    getattr(proxy, cut)(of=b"applied_session")

    first = run(JobCode.DOWNLOAD)
    customers = query(proxied_houston, "SELECT count(*) FROM customer")
    second = run(JobCode.DOWNLOAD)
    third = run(JobCode.DOWNLOAD)

    assert proxy.cuts == 1
    assert first["outcome"] == "failed"
    assert customers == [(delivered,)]
    assert second["counts"]["distributed"] == 1
    assert third["outcome"] == "nothing_to_do"
    assert lookup(proxied_houston) == [("005001", "Ann")]
    assert broken_promises() == []


@pytest.mark.fault("F-14")  # the outcome of a COMMIT is unknown
@pytest.mark.parametrize("cut", ["cut_before_commit", "cut_after_commit"])
@pytest.mark.parametrize("step", HQ_STATEMENTS)
def test_an_uncertain_commit_at_hq_is_repeated_without_harm(hq_proxy, houston, step, cut):
    make_customer(houston, "Ann")
    getattr(hq_proxy, cut)(of=HQ_STATEMENTS[step])

    first = run("pipeline")
    run("pipeline")
    make_customer(houston, "Bo")
    run("pipeline")

    assert hq_proxy.cuts == 1
    outcomes = [entry["outcome"] for entry in first["steps"] if entry["step"] == step]
    assert outcomes == ["failed"]
    assert lookup(houston) == [("005001", "Ann"), ("005002", "Bo")]
    assert GuidMap.objects.count() == Customer.objects.exclude(number=None).count() == 2
    assert broken_promises() == []


@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("refuse", NOT_LISTENING),
        ("reset_at_connect", UNREACHABLE),
        ("go_black", SILENT),
        ("go_half_open", SILENT),
    ],
)
def test_a_channel_without_a_connection_fails_alone_and_soon(
    proxy, proxied_houston, popup, short_timeouts, fault, message
):
    make_customer(proxied_houston, "Ann")
    make_customer(popup, "Bo")
    getattr(proxy, fault)()

    start = time.monotonic()
    result = run(JobCode.UPLOAD)
    seconds = time.monotonic() - start
    proxy.heal()
    retry = run("pipeline")

    assert seconds < 5
    assert result["outcome"] == "partly"
    assert step_of(result, "houston")["message"] == message
    assert step_of(result, "popup")["counts"]["staged"] == 1
    assert retry["counts"]["staged"] == 1
    assert names_in(proxied_houston) == ["Ann", "Bo"]


@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
def test_a_connection_reset_during_a_query_changes_nothing(proxy, proxied_houston):
    make_customer(proxied_houston, "Ann")
    proxy.cut_mid_query(of=b"COPY (SELECT")

    first = run(JobCode.UPLOAD)
    second = run(JobCode.UPLOAD)

    assert (first["outcome"], first["counts"]) == ("failed", {})
    assert second["counts"] == {"read": 1, "staged": 1}
    assert waiting(proxied_houston) == 0


@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
@pytest.mark.parametrize("fault", ["go_black", "go_half_open"])
def test_a_connection_silent_during_a_visit_is_given_up(
    proxy, proxied_houston, popup, short_timeouts, at_failpoint, fault
):
    make_customer(proxied_houston, "Ann")
    make_customer(popup, "Bo")
    at_failpoint("upload:after_hq_commit", getattr(proxy, fault))

    start = time.monotonic()
    result = run(JobCode.UPLOAD, channels=["houston"])
    seconds = time.monotonic() - start
    proxy.heal()
    run("pipeline")

    assert result["steps"][0]["message"] == SILENT
    assert seconds < 8
    assert waiting(proxied_houston) == 0
    assert names_in(proxied_houston) == ["Ann", "Bo"]


@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
@pytest.mark.parametrize(
    "limits",
    [{"delay_s": 0.03}, {"bytes_per_s": 200_000}, {"slice_bytes": 7}],
    ids=["latency", "low bandwidth", "tiny packets"],
)
def test_a_slow_connection_carries_everything(proxy, proxied_houston, limits):
    make_customer(proxied_houston, "Zoë")
    proxy.slow(**limits)

    result = run("pipeline")

    assert result["outcome"] == "succeeded"
    assert lookup(proxied_houston) == [("005001", "Zoë")]


@pytest.mark.fault("F-38", "F-42")  # the network fails; a name does not resolve
def test_a_channel_whose_host_name_does_not_resolve_fails_alone(houston, popup, monkeypatch):
    make_customer(popup, "Bo")
    ChannelDatabase.objects.filter(pk=houston.pk).update(
        url="postgresql://hq@db.houston.invalid/ch?sslmode=disable"
    )
    monkeypatch.setattr(hosts, "resolve", lambda host: [])

    result = run(JobCode.UPLOAD)

    assert step_of(result, "houston")["message"] == UNKNOWN_NAME
    assert step_of(result, "popup")["counts"]["staged"] == 1


def test_the_driver_s_error_message_is_not_stored(proxy, proxied_houston):
    proxy.refuse()

    run(JobCode.UPLOAD)

    with connection.cursor() as cursor:
        cursor.execute("SELECT message, error FROM job_run")
        [(message, error)] = cursor.fetchall()
    assert json.loads(message) == [
        {"code": "channel_nothing_listens", "params": {"channel": "houston"}}
    ]
    assert "127.0.0.1" not in error


@pytest.mark.scenario(id="E6")
def test_a_run_keeps_its_connection_when_the_url_changes(houston, seattle, at_failpoint):
    make_customer(houston, "Ann")
    # Two registered databases may not have the same URL.
    ChannelDatabase.objects.filter(pk=seattle.pk).update(is_enabled=False, url="embedded:none")
    row = ChannelDatabase.objects.filter(pk=houston.pk)
    at_failpoint("upload:after_hq_commit", lambda: row.update(url="embedded:ch_seattle"))

    first = run(JobCode.UPLOAD, channels=["houston"])
    second = run(JobCode.UPLOAD, channels=["houston"])

    assert first["outcome"] == "succeeded"
    assert waiting(houston) == 0
    # The next run finds another database at the new URL and refuses it.
    assert second["outcome"] == "failed"
    assert Incident.objects.open().get().kind == IncidentKind.WRONG_DATABASE
