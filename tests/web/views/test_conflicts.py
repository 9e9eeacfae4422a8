"""The pages of edit conflicts: what they list, and who closes one how."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stores.models import AsyncCustomer, Customer, EditConflict
from stores.models.labels import label
from stores.web.lists.conflicts import ConflictTable, field_choices
from tests.support.make import make_customer, make_event, query, run
from tests.support.pages import rows_of

pytestmark = pytest.mark.slow

FAR = timezone.now() + timedelta(days=365)


@pytest.fixture
def contended(houston, seattle) -> EditConflict:
    """Houston's clock is far ahead, and Seattle changed Ann's phone number before it was sent."""
    guid = make_customer(houston, "Ann", phone="111 111")
    run("pipeline")
    whole = {"operation": "update", "first_name": "Ann", "async_account": guid}
    make_event("customer", seattle, **whole, phone="222 222")
    run("pipeline", channels=["seattle"])
    make_event("customer", houston, **whole, phone="333 333", occurred_at=FAR)
    run("P-0001")
    run("sync-customers")
    return EditConflict.objects.get()


def close(client: Client, conflict: EditConflict, **form: Any) -> Any:
    version = client.get(f"/conflicts/{conflict.pk}/").context["form"]["version"].value()
    form = {"version": version, "choice": "take", "reason": "She told us."} | form
    return client.post(f"/conflicts/{conflict.pk}/close/", form, follow=True)


def ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def test_both_values_places_and_the_winner_are_listed(reader, contended):
    page = reader.get("/conflicts/").content.decode()

    for shown in ("005001", "Customer phone", "222 222", "333 333", "seattle", "houston", "Open"):
        assert shown in page


@pytest.mark.parametrize(
    ("table", "field", "shown"),
    [
        ("async_customer", "vat_number", "Customer VAT number"),
        ("async_customer", "is_active", "Customer active"),
        ("async_address", "is_primary", "Address primary"),
        ("async_contact", "marketing_opt_in", "Contact marketing consent"),
    ],
)
def test_a_field_in_conflict_is_called_as_people_call_it(table, field, shown):
    assert EditConflict(table=table, field=field).subject == shown
    assert label(field) in dict(field_choices()).values()


def test_the_overview_says_that_a_person_should_choose(reader, contended):
    assert "/conflicts/?status=open" in reader.get("/").content.decode()


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("status=open", 1),
        ("status=closed", 0),
        ("field=phone", 1),
        ("field=email", 0),
        ("place=seattle", 1),
        ("place=hq:", 0),
        ("won=houston", 1),
        ("won=seattle", 0),
        ("since=2000-01-01", 1),
        ("until=2000-01-01", 0),
        ("field=nonsense", 0),
    ],
)
def test_the_list_is_filtered(reader, contended, query, rows):
    assert len(rows_of(reader.get(f"/conflicts/?{query}"))) == rows


def test_every_column_sorts_both_ways_and_the_csv_has_all(reader, contended):
    for column in ConflictTable.base_columns:
        for sort in (column, f"-{column}"):
            assert rows_of(reader.get("/conflicts/", {"sort": sort})) == [contended]

    csv = reader.get("/conflicts/?_export=csv").getvalue().decode()
    assert "222 222" in csv
    assert "333 333" in csv


def test_queries_do_not_grow_with_conflicts(queries_of, contended):
    once = queries_of("/conflicts/")
    for number in range(3):
        EditConflict.objects.filter(pk=contended.pk).first()
        contended.pk, contended.field = None, f"field {number}"
        contended.save(force_insert=True)

    assert queries_of("/conflicts/") == once


def test_taking_the_other_value_is_an_event_of_headquarters_for_every_channel(
    boss, houston, seattle, contended, command
):
    close(boss, contended)
    run("1010")

    assert ann().phone == "222 222"
    for shop in (houston, seattle):
        assert query(shop, "SELECT phone FROM customer") == [("222 222",)]
    contended.refresh_from_db()
    made = AsyncCustomer.objects.get(pk=contended.made_event)
    assert (made.origin, made.made_by.username, made.status) == ("hq", "boss", "applied")
    told = " ".join(command("trace", "005001").split())
    assert "Customer phone: Other value used, by boss: She told us." in told
    assert "A clock was more than 15 minutes off" in told


def test_keeping_the_present_value_changes_nothing_but_the_conflict(boss, contended):
    version = ann().hq_version

    close(boss, contended, choice="keep")

    contended.refresh_from_db()
    assert (contended.choice, contended.reason) == ("keep", "She told us.")
    assert (ann().phone, ann().hq_version) == ("333 333", version)


def test_a_conflict_that_is_closed_is_not_closed_again(boss, contended):
    close(boss, contended, choice="keep")

    answer = boss.post(
        f"/conflicts/{contended.pk}/close/",
        {"choice": "take", "reason": "Again.", "version": ann().hq_version},
        follow=True,
    )

    assert "The conflict is already closed." in answer.content.decode()
    assert ann().phone == "333 333"


def test_what_the_rule_decided_a_person_may_still_decide_otherwise(boss, contended):
    EditConflict.objects.update(is_clock_off=False, choice="rule", closed_at=timezone.now())

    close(boss, contended)

    assert ann().phone == "222 222"


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"reason": " "}, "Reason: required. Both values are kept in the history."),
        ({"reason": "\u200b\xa0"}, "Reason: required. Both values are kept in the history."),
        ({"reason": "A" * 301}, "Reason: at most 300 characters."),
        ({"choice": "guess"}, "Choose which value to keep: keep or take."),
    ],
)
def test_a_conflict_is_closed_with_a_choice_and_a_reason(boss, contended, form, sentence):
    page = close(boss, contended, **form).content.decode()

    assert sentence in page
    assert EditConflict.objects.open().count() == 1


def test_a_customer_who_was_changed_meanwhile_is_looked_at_again(boss, seattle, contended):
    guid = ann().guids.get().pk
    make_event("customer", seattle, operation="update", async_account=guid, phone="444 444")
    run("P-0001")

    page = close(boss, contended).content.decode()

    assert "Changed meanwhile: nothing was saved." in page
    assert EditConflict.objects.open().filter(pk=contended.pk).exists()


def test_only_those_who_may_change_customers_close_conflicts(reader, contended):
    page = reader.get(f"/conflicts/{contended.pk}/").content.decode()
    answer = reader.post(f"/conflicts/{contended.pk}/close/", {"choice": "keep", "reason": "No."})

    assert "Close the conflict" not in page
    assert answer.status_code == 403
    assert EditConflict.objects.open().count() == 1
