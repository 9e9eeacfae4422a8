"""Whose GUID it is: a channel may name those that it made or was given, in every table."""

from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from django.db import connections

from stores import failpoints
from stores.models import (
    AsyncCustomer,
    Case,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    Quarantine,
    RetailTransaction,
)
from stores.pipeline.events.kinds import CHILDREN, KINDS
from stores.pipeline.integrity.verify import verify
from tests.support.damage import broken_by
from tests.support.make import make_customer, make_event, make_sale, query, run, unacknowledged
from tests.support.processes import Died, die

pytestmark = pytest.mark.slow

ORDER = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}


@pytest.fixture
def abroad(register, seattle) -> ChannelDatabase:
    """A shop of another company."""
    return register("web", company="EURT", account_format="E-####", first_number=1)


def name_in_all(database: ChannelDatabase, guid: UUID, kinds: Any = KINDS) -> None:
    """One event of each kind and a sale that name the GUID."""
    for kind in kinds:
        make_event(kind.name, database, async_account=guid, operation="update")
    make_sale(database, async_account=guid, transaction_id=f"T-{database.channel.code}")


def refused() -> dict[str, set[tuple[str, str]]]:
    """Table and reason of what is set aside or failed, by channel."""
    found: dict[str, set[tuple[str, str]]] = {}
    for case in Case.objects.unsettled().select_related("database__channel"):
        code = case.database.channel.code
        found.setdefault(code, set()).add((case.table, case.reason))
    return found


def broken() -> list[str]:
    return [check.id for check in verify() if not check.ok]


def every_table(reason: str, kinds: Any = KINDS) -> set[tuple[str, str]]:
    return {(kind.event, reason) for kind in kinds} | {("retail_transaction", reason)}


def test_a5_a_guid_is_taken_only_from_channels_that_made_it_or_were_given_it(
    store, seattle, abroad, command
):
    ann = make_customer(store, "Ann")
    run("P-0001")
    run("sync-customers", companies=["USRT"])
    for shop in (seattle, abroad):
        name_in_all(shop, ann)

    run("pipeline")

    assert refused() == {
        "seattle": every_table("guid_conflict"),
        "web": every_table("company_mismatch"),
    }
    assert {row.field for row in Quarantine.objects.all()} == {"async_account"}
    assert unacknowledged(seattle) == unacknowledged(abroad) == 0
    assert Customer.objects.get(account_number="005001").first_name == "Ann"
    assert not CustomerAddress.objects.exists()
    assert not RetailTransaction.objects.exists()
    # Its own company has been given her by now, and the other one never is.
    cases = [case.id for case in Case.objects.unsettled()]
    command("quarantine", "dismiss", *cases, "--reason", "Not theirs.")
    for shop in (seattle, abroad):
        make_event("address", shop, async_account=ann)
        make_sale(shop, async_account=ann)
    run("pipeline")
    assert list(refused()) == ["web"]
    assert CustomerAddress.objects.get().customer.account_number == "005001"
    assert RetailTransaction.objects.get().channel == seattle.channel
    assert broken() == []


def test_a5_who_names_a_guid_before_its_customer_arrives_does_not_own_it(
    store, seattle, abroad, command
):
    ann = UUID("0b8f5c52-6f0e-4d5d-8a64-2f9c6d1b7e10")
    for shop in (seattle, abroad):
        name_in_all(shop, ann, CHILDREN)
        make_sale(shop, async_account=ann, transaction_id=f"O-{shop.channel.code}", **ORDER)
    run("pipeline")
    assert refused() == {}

    make_customer(store, "Ann", guid=ann)
    make_event("address", store, async_account=ann, city="Ours")
    run("P-0001")
    run("sync-customers")
    # The other company's conversion may have come before.
    run("sync-customers")
    run("sync-orders")
    run("eod")

    assert refused()["seattle"] >= {(kind.event, "guid_conflict") for kind in CHILDREN}
    assert refused()["web"] >= {(kind.event, "company_mismatch") for kind in CHILDREN}
    assert CustomerAddress.objects.get().city == "Ours"
    sales = RetailTransaction.objects.order_by("transaction_id")
    assert list(sales.values_list("transaction_id", "customer", "order_reason")) == [
        ("O-seattle", None, "guid_conflict"),
        ("O-web", None, "company_mismatch"),
        ("T-seattle", None, None),
        ("T-web", None, None),
    ]
    assert broken() == []
    # Once her store has shared her, a person lets the others in.
    run("1010")
    cases = [case.id for case in Case.objects.unsettled() if case.reason == "guid_conflict"]
    command("quarantine", "release", *cases)
    run("sync-customers")
    assert CustomerAddress.objects.count() == 2
    assert "seattle" not in refused()


def test_a5_of_two_channels_that_make_one_guid_the_first_one_owns_it(store, seattle):
    ann = make_customer(store, "Ann")
    run("P-0001", channels=[store.channel.code])
    # As if both had been read at the same moment.
    make_customer(seattle, "Eve", guid=ann)
    AsyncCustomer.objects.update(status="superseded", reason="corrected")
    run("P-0001", channels=["seattle"])
    AsyncCustomer.objects.filter(first_name="Ann").update(status="pending", reason=None)

    run("sync-customers")

    assert Customer.objects.get(number=5001).first_name == "Ann"
    assert refused() == {"seattle": {("async_customer", "guid_conflict")}}
    assert broken() == []


@pytest.mark.parametrize("table", [*(kind.event for kind in KINDS), "retail_transaction"])
def test_a5_a_planted_row_of_somebody_else_is_noticed(planted, table):
    ours, theirs, seattle = planted

    hers = f"WHERE customer_id = {ours}"
    assert broken() == []
    assert "I6" in broken_by(f"UPDATE {table} SET customer_id = {theirs} {hers}")  # noqa: S608
    # Seattle was given her, so this is right; then as if it had never been.
    move = f"UPDATE {table} SET database_id = {seattle.pk} {hers}"  # noqa: S608
    assert "I6" not in broken_by(move)
    forget = "UPDATE delivery SET delivered_version = 0, delivered_at = NULL, session_id = NULL"
    query(seattle, "DELETE FROM account_map")
    assert "I6" in broken_by(f"{move}; {forget}")


@pytest.fixture
def planted(houston, seattle, abroad) -> tuple[int, int, ChannelDatabase]:
    """A customer of houston with everything, one of another company, and a channel beside."""
    ann = make_customer(houston, "Ann")
    for kind in CHILDREN:
        make_event(kind.name, houston, async_account=ann)
    make_sale(houston, async_account=ann)
    make_customer(abroad, "Cy")
    run("pipeline")
    run("validate")
    ours, theirs = Customer.objects.filter(number__isnull=False).order_by("company_id", "pk")[::-1]
    assert (ours.company_id, theirs.company_id) == ("USRT", "EURT")
    return ours.pk, theirs.pk, seattle


# --------------------------------------------------------------- what the channel itself holds


@pytest.fixture
def ann(houston, seattle) -> UUID:
    """A customer of houston, whom seattle was given."""
    guid = make_customer(houston, "Ann", phone="111 111")
    run("pipeline")
    return guid


def edit_in(shop: ChannelDatabase, guid: UUID) -> None:
    """An edit, an address and a sale by a till that knows the GUID from its account_map."""
    make_event("customer", shop, async_account=guid, operation="update", first_name="Anna")
    make_event("address", shop, async_account=guid)
    make_sale(shop, async_account=guid)


def is_edited() -> bool:
    return (
        CustomerAddress.objects.exists()
        and Customer.objects.get(account_number="005001").first_name == "Anna"
    )


def test_v3_an_edit_is_taken_from_a_channel_that_was_set_back(ann, seattle, backed_up):
    backup = backed_up(seattle)
    make_customer(seattle, "Bo")
    run("pipeline")
    backup.restore()
    edit_in(seattle, ann)

    run("pipeline")

    assert is_edited()
    assert not Quarantine.objects.exists()


def test_v3_an_edit_is_taken_again_from_a_channel_that_a_recovered_hq_forgot(
    houston,
    seattle,
    hq_backed_up,
    recover_hq,
):
    backup = hq_backed_up()
    ann = make_customer(houston, "Ann", phone="111 111")
    run("pipeline")
    edit_in(seattle, ann)
    run("pipeline")
    backup.restore()

    recover_hq()
    run("pipeline")

    assert is_edited()
    assert not Quarantine.objects.exists()
    assert query(houston, "SELECT first_name FROM customer") == [("Anna",)]


def test_v3_an_edit_is_taken_where_the_delivery_was_not_noted(houston, seattle, monkeypatch):
    ann = make_customer(houston, "Ann")
    run("P-0001")
    run("sync-customers")
    monkeypatch.setitem(failpoints.armed, "download:after_channel_commit", die)
    with pytest.raises(Died):
        run("1010", channels=["seattle"])
    monkeypatch.delitem(failpoints.armed, "download:after_channel_commit")
    edit_in(seattle, ann)

    run("P-0001")
    run("sync-customers")

    assert is_edited()


def test_v3_an_edit_is_taken_by_another_run_before_the_delivery_is_noted(
    houston, seattle, monkeypatch
):
    ann = make_customer(houston, "Ann")
    run("P-0001")
    run("sync-customers")

    def upload() -> None:
        edit_in(seattle, ann)
        run("P-0001")
        connections.close_all()

    def meanwhile() -> None:
        failpoints.armed.pop("download:after_channel_commit")
        thread = Thread(target=upload)
        thread.start()
        thread.join()

    monkeypatch.setitem(failpoints.armed, "download:after_channel_commit", meanwhile)
    run("1010", channels=["seattle"])
    monkeypatch.setitem(failpoints.armed, "download:after_channel_commit", lambda: None)
    assert not Quarantine.objects.exists()
    run("sync-customers")

    assert is_edited()
