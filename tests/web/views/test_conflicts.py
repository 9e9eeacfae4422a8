"""The pages of edit conflicts: the list, and closing a conflict with a choice and a reason.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `command` calls a management command and returns its output; `reader`
is a client of a user who may see every page; `boss` is a client of an administrator; `queries_of`
counts the queries of a page.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stores.messages.labels import label
from stores.models import AsyncCustomer, Customer, EditConflict
from stores.models.job import JobCode
from stores.web.lists.conflicts import ConflictTable, field_choices
from tests.support.make import make_customer, make_event, query, run
from tests.support.pages import csv_rows, rows_of

pytestmark = pytest.mark.slow


@pytest.fixture
def conflict(houston, seattle) -> EditConflict:
    """Seattle and Houston edited Ann's phone; Houston's edit won, by a clock a year ahead."""
    guid = make_customer(houston, "Ann", phone="111 111")
    run("pipeline")
    edit = {"operation": "update", "first_name": "Ann", "async_account": guid}
    make_event("customer", seattle, **edit, phone="222 222")
    run("pipeline", channels=["seattle"])
    next_year = timezone.now() + timedelta(days=365)
    make_event("customer", houston, **edit, phone="333 333", occurred_at=next_year)
    run(JobCode.UPLOAD)
    run("sync-customers")
    return EditConflict.objects.get()


def close(client: Client, conflict: EditConflict, **changes: Any) -> Any:
    """Submit the form that closes the conflict with the other value, or with other fields."""
    version = client.get(f"/conflicts/{conflict.pk}/").context["form"]["version"].value()
    form = {"version": version, "choice": "take", "reason": "She told us."}
    return client.post(f"/conflicts/{conflict.pk}/close/", form | changes, follow=True)


def get_ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def test_the_list_shows_both_values_with_their_channels(reader, conflict):
    page = reader.get("/conflicts/").content.decode()

    for text in ("005001", "Customer phone", "222 222", "333 333", "seattle", "houston", "Open"):
        assert text in page


@pytest.mark.parametrize(
    ("table", "field", "subject"),
    [
        ("async_customer", "vat_number", "Customer VAT number"),
        ("async_customer", "is_active", "Customer active"),
        ("async_address", "is_primary", "Address primary"),
        ("async_contact", "marketing_opt_in", "Contact marketing consent"),
    ],
)
def test_a_field_has_a_readable_label(table, field, subject):
    assert EditConflict(table=table, field=field).subject == subject
    assert label(field) in dict(field_choices()).values()


def test_the_overview_links_to_the_open_conflicts(reader, conflict):
    assert "/conflicts/?status=open" in reader.get("/").content.decode()


def test_the_list_is_filtered(reader, conflict, subtests):
    for filters in (
        "status=open",
        "field=phone",
        "place=seattle",
        "won=houston",
        "since=2000-01-01",
    ):
        with subtests.test(filters):
            assert rows_of(reader.get(f"/conflicts/?{filters}")) == [conflict]

    for filters in (
        "status=closed",
        "field=email",
        "place=hq:",
        "won=seattle",
        "until=2000-01-01",
        "field=nonsense",
    ):
        with subtests.test(filters):
            assert rows_of(reader.get(f"/conflicts/?{filters}")) == []


def test_every_column_sorts_in_both_directions(reader, conflict, subtests):
    for column in ConflictTable.base_columns:
        with subtests.test(column):
            assert rows_of(reader.get("/conflicts/", {"sort": column})) == [conflict]
            assert rows_of(reader.get("/conflicts/", {"sort": f"-{column}"})) == [conflict]


def test_the_csv_file_has_both_values(reader, conflict):
    csv = reader.get("/conflicts/?_export=csv").getvalue().decode()

    assert "222 222" in csv
    assert "333 333" in csv


def test_the_csv_file_has_the_times_of_both_edits(reader, conflict):
    [row] = csv_rows(reader.get("/conflicts/?_export=csv"))

    assert row["Kept edit"] == conflict.kept_at.isoformat()
    assert row["Other edit"] == conflict.lost_at.isoformat()


def test_the_number_of_queries_does_not_grow_with_the_conflicts(queries_of, conflict):
    queries = queries_of("/conflicts/")
    for number in range(3):
        conflict.pk = None
        conflict.field = f"field {number}"
        conflict.save(force_insert=True)

    assert queries_of("/conflicts/") == queries


def test_using_the_other_value_sends_it_to_every_channel(boss, houston, seattle, conflict, command):
    close(boss, conflict)
    run(JobCode.DOWNLOAD)

    assert get_ann().phone == "222 222"
    for store in (houston, seattle):
        assert query(store, "SELECT phone FROM customer") == [("222 222",)]
    conflict.refresh_from_db()
    event = AsyncCustomer.objects.get(pk=conflict.made_event)
    assert (event.origin, event.made_by.username, event.status) == ("hq", "boss", "applied")
    trace = " ".join(command("trace", "005001").split())
    assert "Customer phone: Other value used, by boss: She told us." in trace
    assert "A clock was more than 15 minutes off" in trace


def test_keeping_the_present_value_changes_only_the_conflict(boss, conflict):
    version = get_ann().hq_version

    close(boss, conflict, choice="keep")

    conflict.refresh_from_db()
    assert (conflict.choice, conflict.reason) == ("keep", "She told us.")
    assert (get_ann().phone, get_ann().hq_version) == ("333 333", version)


def test_a_closed_conflict_cannot_be_closed_again(boss, conflict):
    close(boss, conflict, choice="keep")

    response = boss.post(
        f"/conflicts/{conflict.pk}/close/",
        {"choice": "take", "reason": "Again.", "version": get_ann().hq_version},
        follow=True,
    )

    assert "The conflict is already closed." in response.content.decode()
    assert get_ann().phone == "333 333"


def test_a_conflict_closed_by_the_rule_can_be_closed_again(boss, conflict):
    EditConflict.objects.update(clock_skewed=False, choice="rule", closed_at=timezone.now())

    close(boss, conflict)

    assert get_ann().phone == "222 222"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"reason": " "}, "Reason: required. Both values are kept in the history."),
        ({"reason": "\u200b\xa0"}, "Reason: required. Both values are kept in the history."),
        ({"reason": "A" * 301}, "Reason: at most 300 characters."),
        ({"choice": "guess"}, "Choose which value to keep: keep or take."),
    ],
    ids=["blank", "invisible", "long", "unknown choice"],
)
def test_closing_needs_a_choice_and_a_reason(boss, conflict, field, message):
    page = close(boss, conflict, **field).content.decode()

    assert message in page
    assert EditConflict.objects.open().count() == 1


def test_a_conflict_stays_open_if_the_customer_was_changed_meanwhile(boss, seattle, conflict):
    guid = get_ann().guids.get().pk
    make_event("customer", seattle, operation="update", async_account=guid, phone="444 444")
    run(JobCode.UPLOAD)

    page = close(boss, conflict).content.decode()

    assert "Changed meanwhile: nothing was saved." in page
    assert EditConflict.objects.open().filter(pk=conflict.pk).exists()


def test_only_users_who_may_change_customers_close_conflicts(reader, conflict):
    page = reader.get(f"/conflicts/{conflict.pk}/").content.decode()
    response = reader.post(f"/conflicts/{conflict.pk}/close/", {"choice": "keep", "reason": "No."})

    assert "Close the conflict" not in page
    assert response.status_code == 403
    assert EditConflict.objects.open().count() == 1


def test_taking_a_first_name_composes_the_full_name_anew(boss, houston, seattle):
    ann = {"last_name": "Lee", "name": "Ann Lee"}
    guid = make_customer(houston, "Ann", **ann)
    run("pipeline")
    edit = {"operation": "update", "async_account": guid, "last_name": "Lee"}
    make_event("customer", seattle, **edit, first_name="Zora", name="Zora Lee")
    run("pipeline", channels=["seattle"])
    next_year = timezone.now() + timedelta(days=365)
    edit |= {"first_name": "Anna", "name": "Anna Lee", "occurred_at": next_year}
    make_event("customer", houston, **edit)
    run(JobCode.UPLOAD)
    run("sync-customers")

    close(boss, EditConflict.objects.get(field="first_name"))

    assert (get_ann().first_name, get_ann().name) == ("Zora", "Zora Lee")
