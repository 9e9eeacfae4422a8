"""The line breaks, or the network does: to a channel, and to HQ's own database."""

import time

import pytest
from django.db import connection

from stores.channeldb.connect import hosts
from stores.models import AsyncCustomer, ChannelDatabase, Customer, GuidMap, Incident
from stores.models.incident import IncidentKind
from tests.support.after_a_fault import broken, step_of, waiting
from tests.support.make import lookup, make_customer, query, run

pytestmark = pytest.mark.slow

UNREACHABLE = "Channel houston cannot be reached."


# ------------------------------------------------------- COMMIT, and nobody knows


@pytest.mark.fault("F-14")
def test_acknowledgement_lost_before_the_server_is_made_again(line, far_houston):
    make_customer(far_houston, "Ann")
    line.cut_before_commit(of=b"SET acknowledged_at")

    first = run("pipeline")
    held, still_waiting = AsyncCustomer.objects.count(), waiting(far_houston)
    second = run("pipeline")

    assert (first["steps"][0]["message"], held, still_waiting) == (UNREACHABLE, 1, 1)
    assert second["steps"][0]["counts"] == {"read": 1, "unchanged": 1}
    assert waiting(far_houston) == 0
    assert lookup(far_houston) == [("005001", "Ann")]


@pytest.mark.fault("F-14")
def test_acknowledgement_that_was_made_unknown_to_hq_is_not_made_again(line, far_houston):
    make_customer(far_houston, "Ann")
    line.cut_after_commit(of=b"SET acknowledged_at")

    first = run("P-0001")
    second = run("pipeline")

    assert (first["outcome"], first["message"].endswith(UNREACHABLE)) == ("failed", True)
    assert waiting(far_houston) == 0
    assert "read" not in second["steps"][0]["counts"]
    assert lookup(far_houston) == [("005001", "Ann")]


@pytest.mark.fault("F-14")
@pytest.mark.parametrize(("cut", "known"), [("cut_before_commit", 0), ("cut_after_commit", 1)])
def test_package_of_unknown_outcome_arrives_once(line, far_houston, cut, known):
    make_customer(far_houston, "Ann")
    run("P-0001")
    run("sync-customers")
    getattr(line, cut)(of=b"applied_session")

    first = run("1010")
    [(there,)] = query(far_houston, "SELECT count(*) FROM customer")
    second = run("1010")
    third = run("1010")

    assert (line.cuts, first["outcome"], there) == (1, "failed", known)
    assert second["counts"]["distributed"] == 1
    assert third["outcome"] == "nothing_to_do"
    assert lookup(far_houston) == [("005001", "Ann")]
    assert broken() == []


HQ_COMMITS = [
    ("upload", b'INSERT INTO "async_customer"'),
    ("convert", b"INSERT INTO guid_map"),
    ("download", b"UPDATE delivery"),
]


@pytest.mark.fault("F-14")
@pytest.mark.parametrize("cut", ["cut_before_commit", "cut_after_commit"])
@pytest.mark.parametrize(("step", "words"), HQ_COMMITS, ids=[step for step, _ in HQ_COMMITS])
def test_hq_s_own_commit_of_unknown_outcome_is_repeated_without_harm(
    hq_line, houston, step, words, cut
):
    make_customer(houston, "Ann")
    getattr(hq_line, cut)(of=words)

    first = run("pipeline")
    run("pipeline")
    make_customer(houston, "Bo")
    run("pipeline")

    assert hq_line.cuts == 1
    assert next(one for one in first["steps"] if one["step"] == step)["outcome"] == "failed"
    assert lookup(houston) == [("005001", "Ann"), ("005002", "Bo")]
    assert GuidMap.objects.count() == Customer.objects.exclude(number=None).count() == 2
    assert broken() == []


# ------------------------------------------------------------ a line that is away

AWAY = ["refuse", "reset_at_connect", "go_black", "go_half_open"]


@pytest.mark.fault("F-38", "F-42")
@pytest.mark.parametrize("fault", AWAY)
def test_channel_that_cannot_be_connected_to_fails_alone_and_soon(
    line, far_houston, popup, impatient, fault
):
    make_customer(far_houston, "Ann")
    make_customer(popup, "Bo")
    getattr(line, fault)()

    before = time.monotonic()
    found = run("P-0001")
    took = time.monotonic() - before
    line.heal()
    after = run("pipeline")

    assert took < 5
    assert found["outcome"] == "partly"
    assert step_of(found, "houston")["message"] == UNREACHABLE
    assert step_of(found, "popup")["counts"]["staged"] == 1
    assert after["counts"]["staged"] == 1
    assert sorted(name for _, name in lookup(far_houston)) == ["Ann", "Bo"]


@pytest.mark.fault("F-38", "F-42")
def test_line_that_is_reset_within_a_query_costs_nothing(line, far_houston):
    make_customer(far_houston, "Ann")
    line.cut_mid_query(of=b"COPY (SELECT")

    first = run("P-0001")
    second = run("P-0001")

    assert (first["outcome"], first["counts"]) == ("failed", {})
    assert second["counts"] == {"read": 1, "staged": 1}
    assert waiting(far_houston) == 0


@pytest.mark.fault("F-38", "F-42")
@pytest.mark.parametrize("fault", ["go_black", "go_half_open"])
def test_line_that_goes_silent_within_a_visit_is_left(
    line, far_houston, popup, impatient, at, fault
):
    make_customer(far_houston, "Ann")
    make_customer(popup, "Bo")
    at("upload:after_hq_commit", getattr(line, fault))

    before = time.monotonic()
    found = run("P-0001", channels=["houston"])
    took = time.monotonic() - before
    line.heal()
    run("pipeline")

    assert found["steps"][0]["message"] == UNREACHABLE
    assert took < 8
    assert waiting(far_houston) == 0
    assert sorted(name for _, name in lookup(far_houston)) == ["Ann", "Bo"]


@pytest.mark.fault("F-38", "F-42")
@pytest.mark.parametrize(
    "pace",
    [{"delay_s": 0.03}, {"bytes_per_s": 200_000}, {"slice_bytes": 7}],
    ids=["late", "narrow", "sliced"],
)
def test_line_that_is_merely_bad_carries_everything(line, far_houston, pace):
    make_customer(far_houston, "Zoë")
    line.slow(**pace)

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert lookup(far_houston) == [("005001", "Zoë")]


@pytest.mark.fault("F-38", "F-42")
def test_name_that_cannot_be_resolved_fails_its_channel_alone(houston, popup, monkeypatch):
    make_customer(popup, "Bo")
    ChannelDatabase.objects.filter(pk=houston.pk).update(
        url="postgresql://hq@db.houston.invalid/ch?sslmode=disable"
    )
    monkeypatch.setattr(hosts, "ask", lambda host, answers: None)

    found = run("P-0001")

    assert step_of(found, "houston")["message"] == UNREACHABLE
    assert step_of(found, "popup")["counts"]["staged"] == 1


def test_nobody_is_told_what_the_driver_said(line, far_houston):
    line.refuse()

    run("P-0001")

    with connection.cursor() as cursor:
        cursor.execute("SELECT message, error FROM job_run")
        [(message, error)] = cursor.fetchall()
    assert message == UNREACHABLE
    assert "127.0.0.1" not in error


def test_e6_run_ends_on_the_connection_it_began_with(houston, seattle, at):
    """And the next one, on another database than the registered one, is stopped by the fence."""
    make_customer(houston, "Ann")
    stolen = ChannelDatabase.objects.filter(pk=seattle.pk)
    stolen.update(is_enabled=False, url="embedded:none")
    at(
        "upload:after_hq_commit",
        lambda: ChannelDatabase.objects.filter(pk=houston.pk).update(url="embedded:ch_seattle"),
    )

    first = run("P-0001", channels=["houston"])
    second = run("P-0001", channels=["houston"])

    assert first["outcome"] == "succeeded"
    assert waiting(houston) == 0
    assert second["outcome"] == "failed"
    assert [incident.kind for incident in Incident.objects.open()] == [IncidentKind.WRONG_DATABASE]
