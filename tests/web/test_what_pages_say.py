"""What pages say is so: of empty lists, of what is cut off, of times and of people set aside."""

import re
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.jobs.catalog import JOBS
from stores.jobs.liveness import liveness_problems
from stores.models import (
    AsyncAttribute,
    Case,
    ChannelDatabase,
    Delivery,
    DownloadSession,
    Incident,
    Quarantine,
    Schedule,
    UploadSession,
)
from stores.web.lists import runs
from stores.web.views import transactions
from tests.support.make import make_customer, make_event, make_sale, run
from tests.support.pages import LISTS, rows_of

pytestmark = pytest.mark.slow


def text(answer: Any) -> str:
    return answer.content.decode()


# ------------------------------------------------------------------ U1: empty lists

NOTHING_MATCHES = "No rows match the filters."
NARROWED = {
    "async-customers": "since=2999-01-01",
    "customers": "q=nobody",
    "quarantine": "until=2001-01-01",
    "runs": "job=eod",
    "uploads": "since=2999-01-01",
    "downloads": "since=2999-01-01",
    "balance": "since=2999-01-01",
}


def test_u1_a_list_filtered_to_nothing_says_that_it_has_rows(reader, people):
    make_sale(ChannelDatabase.objects.get(channel__code="houston"))
    run("P-0001")
    paths = {LISTS[name]: query for name, query in NARROWED.items()}

    for path, query in (paths | {"/transactions/": "q=nothing"}).items():
        shown = text(reader.get(f"{path}?{query}"))
        assert NOTHING_MATCHES in shown, path
        assert "yet" not in shown[shown.index('class="empty"') :].split("</tr>")[0], path


def test_u1_a_list_that_has_no_row_says_what_brings_some(reader, houston):
    for path in ("/customers/?q=nobody", "/orders/?q=x", "/statements/?state=posted"):
        shown = text(reader.get(path))
        expected = "customer" if "customers" in path else "yet"
        assert (NOTHING_MATCHES in shown) == ("customers" in path), path
        assert expected in shown


def test_u1_a_filter_that_is_not_understood_is_named_as_the_cause(reader, people):
    assert "one of the filters is invalid" in text(reader.get("/customers/?company=x"))


def test_u1_causes_of_one_channel_speak_of_that_channel(reader, houston, popup):
    make_sale(houston, net_amount="11.00")
    run("P-0001")
    run("validate")

    assert "No errors in this channel" in text(reader.get("/transactions/failed/?channel=popup"))
    assert "Net amount" in text(reader.get("/transactions/failed/"))


# ------------------------------------------------------------------ U2: first and later deliveries


def test_u2_a_trace_shows_since_when_and_every_delivery(reader, store, seattle, command):
    guid = make_customer(store, "Ann")
    run("pipeline")
    first = {one.database_id: one.delivered_at for one in Delivery.objects.all()}
    for name in ("Anna", "Annie"):
        make_event("customer", store, operation="update", async_account=guid, first_name=name)
        run("pipeline")

    trace = reader.get(f"/trace/{guid}/").context["trace"]

    assert {one.at for one in trace.channels} == set(first.values())
    for database in (store, seattle):
        told = [
            one for one in trace.events if (one.kind, one.channel) == ("delivered", database.label)
        ]
        assert [one.text for one in told] == [f"Delivered in version {n}." for n in (1, 2, 3)]
        sessions = set(
            DownloadSession.objects.filter(database=database).values_list("pk", flat=True)
        )
        assert {one.session for one in told} == {str(pk) for pk in sessions}
        assert all(one.run for one in told)


def test_u2_of_many_deliveries_the_first_and_the_newest_are_kept(store):
    guid = make_customer(store, "Ann")
    run("pipeline")
    first = Delivery.objects.get(customer__guids=guid).delivered_at
    held = [
        [1, first.isoformat(), None],
        *([n, "2026-01-01T00:00:00+00:00", None] for n in range(2, 21)),
    ]
    Delivery.objects.filter(customer__guids=guid).update(earlier=held)
    make_event("customer", store, operation="update", async_account=guid, first_name="Anna")

    run("pipeline")

    kept = Delivery.objects.get(customer__guids=guid)
    assert kept.known_since == first
    assert [version for version, *_ in kept.earlier][:1] == [1]
    assert len(kept.earlier) == 20


# ------------------------------------------------------------------ U3: nothing is cut off silently


@pytest.fixture
def causes(houston) -> int:
    """Rows with 22 causes."""
    make_customer(houston, "Ann")
    run("P-0001")
    session = UploadSession.objects.get()
    reasons = ("too_long", "unknown_word", "value_missing", "date_format")
    fields = ("first_name", "last_name", "language", "title", "email", "phone")
    found = list(product(reasons, fields))[:22]
    for number, (reason, field) in enumerate(found):
        Quarantine.objects.create(
            database=houston,
            session=session,
            table="async_customer",
            row_key=str(number),
            payload_hash=b"1",
            reason=reason,
            field=field,
            raw=b"{}",
        )
    return len(found)


def test_u3_causes_beyond_the_first_are_counted_and_can_be_seen(reader, causes):
    first = reader.get("/quarantine/")
    everything = reader.get("/quarantine/?causes=all")

    assert len(first.context["causes"]) == 20
    assert "Show 2 more causes" in text(first)
    assert len(everything.context["causes"]) == causes
    assert "more cause" not in text(everything)


def test_u3_so_are_incidents_on_the_overview(reader, houston):
    for number in range(12):
        Incident.objects.report("message_refused", "A message.", subject=str(number))

    texts = [one.text for one in reader.get("/").context["alerts"]]

    assert texts.count("A message.") == 10
    assert "2 older incidents open." in texts


def test_u3_so_are_statements_on_the_board_of_the_end_of_day(reader, houston, monkeypatch):
    monkeypatch.setattr(transactions, "MAX_TRANSACTIONS_SHOWN", 1)
    today = timezone.now().date()
    for jobs in (["eod"], ["P-0001", "validate", "calculate-statements"]):
        for days in (1, 2, 3):
            make_sale(houston, business_date=today - timedelta(days=days))
        for job in jobs:
            run(job)

    shown = text(reader.get("/end-of-day/"))

    lists = re.findall(r'href="(/statements/[^"]+)">Show 2 more<', shown)
    assert [len(rows_of(reader.get(path.replace("&amp;", "&")))) for path in lists] == [3, 3]


def test_u3_so_are_schedules_that_are_overdue(houston):
    long_ago = timezone.now() - timedelta(days=1)
    for minutes in range(1, 14):
        Schedule.objects.create(job="eod", every_minutes=minutes, started_at=long_ago)

    missed = [one.text for one in liveness_problems() if one.code == "schedule_missed"]

    assert len(missed) == 11
    assert missed[-1] == "3 more schedules overdue."


# ------------------------------------------------------------------ U5: people who are set aside


@pytest.fixture
def cy(people) -> Any:
    """Cy is in quarantine, with the phone number that Ann has too."""
    popup = ChannelDatabase.objects.get(channel__code="popup")
    guid = make_customer(
        popup, "Cy", last_name="L" * 61, email="Cy@Example.com", phone="+1 281 555-0100"
    )
    run("P-0001")
    return guid


def test_u5_a_trace_leads_to_the_row_that_is_to_be_corrected(reader, cy):
    row = Quarantine.objects.get(async_account=cy)

    shown = text(reader.get(f"/trace/{cy}/"))

    assert shown.count(f'href="/quarantine/{row.pk}/"') == 2
    assert reader.get(f"/quarantine/{row.pk}/").status_code == 200


def test_u5_so_does_that_of_an_event_that_failed_in_conversion(reader, people):
    event = make_event(
        "attribute",
        ChannelDatabase.objects.get(channel__code="houston"),
        async_account=people["Ann"],
        attribute="SIZE",
    )
    run("P-0001")
    AsyncAttribute.objects.filter(pk=event).update(status="failed", reason="attribute_invalid")

    assert f'href="/quarantine/{event}/"' in text(reader.get(f"/trace/{people['Ann']}/"))


def test_u5_she_is_found_by_her_e_mail_address(reader, cy):
    answer = reader.get("/trace/", {"ref": "cy@example.COM"})

    assert (answer.status_code, answer["Location"]) == (302, f"/trace/{cy}/")


def test_u5_a_phone_number_of_two_people_leads_to_a_choice(reader, people, cy):
    found = reader.get("/trace/", {"ref": "+1 (281) 5550100"}).context["found"]

    assert {one.async_account for one in found} == {str(cy), str(people["Ann"])}


@pytest.mark.parametrize("q", ["cy@example.com", "12815550100", "cy", "CY " + "l" * 61])
def test_u5_the_list_of_the_quarantine_finds_her_too(reader, cy, q):
    assert [row.async_account for row in rows_of(reader.get("/quarantine/", {"q": q}))] == [cy]


@pytest.mark.parametrize("q", ["c", "y@example.com", "1281", "Ann", "%"])
def test_u5_nobody_can_guess_a_name_by_its_letters(reader, cy, q):
    assert rows_of(reader.get("/quarantine/", {"q": q})) == []


@pytest.mark.parametrize(
    "q", ["zoe", "ZO\u00cb", "Zoe\u0308", "o'neil", "Zo\u00eb O\u2019Neil\u200b"]
)
def test_p15_a_name_in_quarantine_is_found_however_it_is_spelt(reader, houston, q):
    guid = make_customer(houston, "Zo\u00eb", last_name="O\u2019Neil", email="nobody")
    make_customer(houston, "Zo", last_name="Neil", email="nobody")
    run("P-0001")

    assert [row.async_account for row in rows_of(reader.get("/quarantine/", {"q": q}))] == [guid]


def test_u5_a_contact_in_quarantine_is_an_address_too(reader, people):
    guid = uuid4()
    make_event(
        "contact",
        ChannelDatabase.objects.get(channel__code="houston"),
        async_account=guid,
        locator="second@example.com",
        staff_id="s" * 200,
    )
    run("P-0001")

    assert reader.get("/trace/", {"ref": "SECOND@example.com"})["Location"] == f"/trace/{guid}/"


def test_u5_a_trace_as_json_has_no_more_words_than_the_contract(cy, command):
    assert '"case"' not in command("trace", str(cy), "--json")


# ------------------------------------------------------------------ A8, A13: true figures and names


def test_a8_attempts_are_told_where_they_are_counted(reader, houston, command):
    make_event("attribute", houston, async_account=make_customer(houston), attribute="SIZE")
    run("P-0001")
    AsyncAttribute.objects.update(status="failed", reason="attribute_invalid")

    [case] = Case.objects.all()

    assert case.attempts is None
    assert '<td class="num">\N{EN DASH}</td>' in text(
        reader.get("/quarantine/cause/", {"cause": str(case.cause)})
    )


def test_a8_a_session_to_a_sqlite_file_has_the_size_of_what_it_wrote(houston, popup):
    make_customer(houston, "Ann")
    run("pipeline")

    sizes = dict(DownloadSession.objects.values_list("database__channel__code", "size_bytes"))

    # COPY data has a length before each value; both are the same rows.
    assert 0.3 < sizes["popup"] / sizes["houston"] < 1.5


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/sessions/uploads/", {"available", "uploaded", "applied", "canceled"}),
        ("/sessions/downloads/", {"available", "downloaded", "applied", "canceled"}),
    ],
)
def test_a8_filters_offer_only_what_a_session_can_be(reader, path, statuses):
    offered = {
        word for word, _ in reader.get(path).context["filters"].form.fields["status"].choices
    }

    failed = {"upload_failed", "apply_failed"} if "uploads" in path else {"download_failed"}
    assert offered - {""} == statuses | failed


def test_a13_the_conversion_has_its_present_title(reader, houston):
    title = "Synchronize customers and channel requests"

    assert JOBS["sync-customers"].title == title
    assert title in text(reader.get("/jobs/"))
    assert ("sync-customers", title) in runs.RunFilter({}, runs.all_runs()).form.fields[
        "job"
    ].choices
