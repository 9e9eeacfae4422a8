"""The pages of quarantine: what failed alike, one row, and who may do what about it."""

import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from stores.models import AsyncCustomer, Case, ChannelDatabase, Quarantine, UploadSession
from stores.pipeline.corrections.case import alike
from tests.support.make import make_customer, make_event, make_sale, query, run

CAUSE = "houston:async_customer:email_format:email"


@pytest.fixture
def aside(houston) -> str:
    """Two rows that failed alike; the path of the first."""
    make_customer(houston, "Canary", email="nobody")
    make_customer(houston, "Canary", email="nowhere")
    run("P-0001")
    return f"/quarantine/{Quarantine.objects.order_by('pk')[0].pk}/"


def page(answer: Any) -> str:
    assert answer.status_code == 200
    return answer.content.decode()


def test_rows_that_failed_alike_are_one_line_that_leads_to_them(reader, aside):
    shown = page(reader.get("/quarantine/"))

    assert f"/quarantine/cause/?cause={CAUSE.replace(':', '%3A')}" in shown
    assert "2 rows in <code>async_customer</code> from houston" in page(
        reader.get("/quarantine/cause/", {"cause": CAUSE})
    )


def test_lists_show_no_value_and_one_row_shows_it_to_those_who_may_settle_it(user_of, aside):
    viewer, operator = user_of("viewer"), user_of("operator")
    for path in ("/quarantine/", f"/quarantine/cause/?cause={CAUSE}", aside):
        assert "Canary" not in page(viewer.get(path))
        assert "nobody" not in page(viewer.get(path))

    assert "Canary" in page(operator.get(aside))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        ("viewer", "release", 403),
        ("viewer", "dismiss", 403),
        ("operator", "release", 302),
        ("operator", "dismiss", 403),
        ("manager", "release", 302),
        ("manager", "dismiss", 302),
        ("auditor", "dismiss", 403),
    ],
)
def test_each_role_does_what_it_may(user_of, aside, role, action, status):
    form = {"cause": CAUSE, "reason": "A test till.", "sure": "yes"}

    answer = user_of(role).post(f"/quarantine/{action}/", form)

    assert answer.status_code == status
    if status == 403:
        assert "quarantined rows. It is granted to the group" in answer.content.decode()
    is_done = status == 302 and action == "dismiss"
    assert set(Quarantine.objects.values_list("status", flat=True)) == {
        "dismissed" if is_done else "open"
    }


def test_the_buttons_are_there_only_for_those_who_may_press_them(user_of, aside):
    shown = {role: page(user_of(role).get(aside)) for role in ("viewer", "operator", "manager")}

    assert [role for role, html in shown.items() if "/quarantine/release/" in html] == [
        "operator",
        "manager",
    ]
    assert [role for role, html in shown.items() if "/quarantine/dismiss/" in html] == ["manager"]


def test_a_dismissal_says_why_or_is_none(user_of, aside):
    answer = user_of("manager").post("/quarantine/dismiss/", {"cause": CAUSE, "reason": " "})

    assert answer.status_code == 302
    assert Quarantine.objects.open().count() == 2


@pytest.mark.slow
@pytest.mark.parametrize("what", ["case", "cause"])
def test_u6_dismissing_asks_first_and_can_be_taken_back(user_of, aside, what):
    manager, operator = user_of("manager"), user_of("operator")
    value = aside.split("/")[2] if what == "case" else CAUSE
    form = {what: value, "reason": "A test till."}

    asked = page(manager.post("/quarantine/dismiss/", form))

    count = 1 if what == "case" else 2
    assert f"Dismiss {count} row{'s' * (count > 1)}?" in asked
    assert "A test till." in asked
    assert Quarantine.objects.open().count() == 2
    done = page(manager.post("/quarantine/dismiss/", form | {"sure": "yes"}, follow=True))
    assert "dismissed. You can reopen dismissed rows here." in done
    assert "/quarantine/reopen/" in done
    assert Quarantine.objects.open().count() == 2 - count
    assert operator.post("/quarantine/reopen/", {what: value}).status_code == 403

    again = page(manager.post("/quarantine/reopen/", {what: value}, follow=True))

    assert "reopened." in again
    assert Quarantine.objects.open().count() == 2
    row = " ".join(page(manager.get(aside)).split())
    assert "Previously dismissed by manager: A test till." in row
    assert "/quarantine/dismiss/" in row


def test_a_correction_shows_what_is_wrong_and_then_becomes_an_event(user_of, aside):
    manager = user_of("manager")
    form = {"operation": "create", "first_name": "Ann", "last_name": "Lee"}
    form["async_account"] = str(Case.objects.get(pk=aside.split("/")[2]).async_account)
    assert 'value="nobody"' in page(manager.get(f"{aside}correct/"))

    refused = manager.post(f"{aside}correct/", form | {"email": "still nobody"})
    assert "E-mail: not an e-mail address." in page(refused)
    saved = manager.post(f"{aside}correct/", form | {"email": "ann@example.com"}, follow=True)

    assert "Corrected." in page(saved)
    assert AsyncCustomer.objects.get().email == "ann@example.com"
    late = manager.post(f"{aside}correct/", form, follow=True)
    assert "resolved in the meantime" in page(late)


@pytest.mark.slow
@pytest.mark.parametrize("second", ["12", "12.345670", "12.345678"])
def test_two_events_of_one_id_are_shown_side_by_side(user_of, houston, second):
    event = "00000000-0000-4000-8000-00000000000a"
    make_customer(houston, "Ann", event_id=event, occurred_at=f"2026-03-01T10:00:{second}+00:00")
    run("P-0001")
    AsyncCustomer.objects.update(first_name="Held")
    query(houston, "UPDATE async_customer SET acknowledged_at = NULL")
    run("P-0001")

    shown = page(user_of("operator").get(f"/quarantine/{Quarantine.objects.get().pk}/"))

    assert {"Held", "Ann"} <= set(map(str.strip, shown.replace("<", ">").split(">")))
    assert shown.count("differs") == 1


LONG = 60_000


def test_s4_a_case_with_a_long_value_is_shown_in_short_and_at_once(user_of, houston, command):
    guid, event = make_customer(houston, "Ann"), uuid4()
    make_event("attribute", houston, async_account=guid, event_id=event, value="M")
    run("P-0001")
    aside = Quarantine.objects.create(
        **values_of_case(houston, event, f"2024-01-01 00:00:00.{'0' * LONG}x")
    )
    path = f"/quarantine/{aside.pk}/"
    client = user_of("operator")
    client.get(path)
    began = time.process_time()

    shown = page(client.get(path))
    told = command("quarantine", "show", str(aside.pk))

    assert time.process_time() - began < 2
    assert "and 59,021 more letters" in shown
    assert "and 59,021 more letters" in told
    values = json.loads(command("quarantine", "show", str(aside.pk), "--json"))["values"]
    assert len(values["value"]) > LONG


def values_of_case(database: ChannelDatabase, event: UUID, value: str) -> dict[str, Any]:
    """A quarantined row of an attribute, with a value that no rule of arrival would let in."""
    return {
        "database": database,
        "session": UploadSession.objects.get(),
        "table": "async_attribute",
        "row_key": "1",
        "event_id": event,
        "reason": "event_conflict",
        "raw": json.dumps({"event_id": str(event), "value": value}).encode(),
        "payload_hash": b"1",
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2026-03-01T10:00:12.500000Z", "2026-03-01 10:00:12.5+00", True),
        ("2026-03-01 10:00:12+00:00", "2026-03-01T10:00:12.000Z", True),
        ("2026-03-01 10:00:12+00:00", "2026-03-01T10:00:12.001Z", False),
        ("0" * LONG, "0" * LONG + "x", False),
    ],
)
def test_s4_times_are_compared_in_time(one, other, same):
    began = time.process_time()

    assert (alike(one) == alike(other)) is same
    assert time.process_time() - began < 0.5


def test_s4_a_document_of_many_lines_is_shown_with_its_first(user_of, houston):
    make_sale(houston, *["1.00"] * 230, transaction_type="layaway")
    run("P-0001")

    shown = page(user_of("operator").get(f"/quarantine/{Quarantine.objects.get().pk}/"))

    assert "30 more not shown." in shown
    assert shown.count(">Lamp</td>") == 200


def test_what_is_not_there_is_a_404(boss, hq):
    for path in ("/quarantine/7/", "/quarantine/cause/?cause=x", "/quarantine/nothing/"):
        assert boss.get(path).status_code == 404
    assert boss.post("/quarantine/release/", {"case": "7"}).status_code == 404
