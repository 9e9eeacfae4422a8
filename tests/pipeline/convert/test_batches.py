"""Conversion takes whole batches, marks them, and never touches an event again.

From conftest.py: `seattle` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite; `hq_user` is robin, a user at headquarters; `ann` is the GUID
of Ann, a customer of popup who has the account 005001.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    Customer,
    CustomerAddress,
    JobRun,
    OpenEvent,
    SettledEvent,
    UploadBatch,
)
from stores.models.job import JobCode
from stores.pipeline.convert import convert as conversion
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.corrections.customer import Edit, complete_state, save_edits
from stores.pipeline.corrections.quarantine import release_rows
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS
from tests.support.conversion import convert, get_ann
from tests.support.make import make_customer, make_event, make_sale, run
from tests.support.orders import make_order
from tests.support.promises import broken_promises
from tests.support.refusals import hq_refuses


def row_versions() -> set[tuple[Any, ...]]:
    """Where each staged event is stored, and which transaction has written it."""
    versions = set()
    with connection.cursor() as cursor:
        for kind in EVENT_KINDS:
            cursor.execute(f"SELECT event_id, ctid::text, xmin::text FROM {kind.event}")  # noqa: S608
            versions |= set(cursor.fetchall())
    return versions


def ago(hours: float) -> datetime:
    return timezone.now() - timedelta(hours=hours)


def make_one_of_each(store, guid, **columns: Any) -> None:
    for kind in EVENT_KINDS:
        make_event(kind.noun, store, async_account=guid, **columns)


def test_an_upload_of_all_tables_is_one_batch(store):
    make_one_of_each(store, uuid4())
    run(JobCode.UPLOAD)
    [batch] = UploadBatch.objects.all()
    before = (batch.rows, batch.number, batch.converted_at, batch.run)

    run(JobCode.CONVERT)

    batch.refresh_from_db()
    assert before == (5, 1, None, None)
    assert batch.session.database == batch.database == store
    assert batch.converted_at is not None
    assert batch.run == JobRun.objects.get(job="sync-customers")
    assert AsyncCustomer.objects.get().applied_run == batch.run
    assert AsyncAddress.objects.get().applied_run == batch.run


def test_rows_that_headquarters_knows_make_no_batch(store):
    make_customer(store, "Ann")
    make_sale(store)
    run(JobCode.UPLOAD)
    run(JobCode.RECONCILE)

    run(JobCode.UPLOAD)

    assert UploadBatch.objects.count() == 1


@pytest.mark.slow
def test_no_staged_event_is_updated_whatever_becomes_of_it(popup, seattle):
    ann = make_customer(popup, "Ann", occurred_at=ago(hours=2))
    make_one_of_each(popup, ann)
    # This address waits for its customer.
    make_event("address", popup, async_account=uuid4())
    # Of two customers with one address the second event fails.
    bo, address = make_customer(popup, "Bo"), uuid4()
    for guid in (ann, bo):
        make_event("address", popup, async_account=guid, address_id=address)
    run(JobCode.PIPELINE)
    # The first edit is applied, and the second superseded: it is older and arrives later.
    edit = {"operation": "update", "account_number": "005001"}
    make_event("customer", popup, **edit, first_name="Anna")
    convert()
    make_event("customer", seattle, **edit, first_name="Old", occurred_at=ago(hours=1))
    run(JobCode.UPLOAD)
    staged = row_versions()

    run(JobCode.PIPELINE)
    failed = [str(event.event_id) for event in OpenEvent.objects.failed()]
    release_rows(failed)
    run(JobCode.PIPELINE)

    assert set(AsyncCustomer.objects.values_list("status", flat=True)) == {"applied", "superseded"}
    assert len(failed) == 1
    assert row_versions() == staged
    assert broken_promises() == []


@pytest.mark.slow
def test_a_chunk_takes_whole_batches_and_several_small_ones(popup, seattle, monkeypatch):
    for database in (popup, seattle):
        make_customer(database, "Ann")
        make_customer(database, "Bo")
    run(JobCode.UPLOAD)

    together = [batch.pk for batch in UploadBatch.objects.order_by("pk")]
    assert conversion.claim_batches(popup.channel.company, []) == together
    monkeypatch.setattr(conversion, "EVENTS_PER_CHUNK", 1)
    assert conversion.claim_batches(popup.channel.company, []) == together[:1]
    run(JobCode.CONVERT)

    assert not UploadBatch.objects.unconverted().exists()
    assert Customer.objects.exclude(number=None).count() == 4
    assert UploadBatch.objects.values("converted_at").distinct().count() == 2


def test_only_conversions_that_tried_an_event_count_as_attempts(popup):
    guid = uuid4()
    make_event("address", popup, async_account=guid)
    for _ in range(3):
        convert()
    waiting = OpenEvent.objects.get()
    make_customer(popup, "Ann", guid=guid)

    convert()

    assert (waiting.status, waiting.reason, waiting.attempts) == ("waiting", "parent_missing", 1)
    assert not OpenEvent.objects.exists()
    assert AsyncAddress.objects.get().status == "applied"
    assert CustomerAddress.objects.get().customer == get_ann()


@pytest.mark.slow
def test_an_event_that_fails_again_says_how_often(popup):
    ann, bo, address = make_customer(popup, "Ann"), make_customer(popup, "Bo"), uuid4()
    for guid in (ann, bo):
        make_event("address", popup, async_account=guid, address_id=address)
    convert()
    first = OpenEvent.objects.get()

    for _ in range(2):
        release_rows([str(first.event_id)])
        convert()

    failed = OpenEvent.objects.get()
    assert (first.attempts, failed.attempts) == (1, 3)
    assert failed.status == "failed"
    assert (failed.reason, failed.field) == ("belongs_to_another", "address_id")
    assert failed.last_tried_at > first.last_tried_at
    assert not SettledEvent.objects.exists()


@pytest.mark.slow
def test_a_batch_leaves_out_a_customer_that_an_order_converted(popup):
    ann = make_customer(popup, "Ann")
    make_event("address", popup, async_account=ann)
    make_customer(popup, "Bo")
    make_order(popup, "W-1", async_account=ann)
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)
    states = dict(AsyncCustomer.objects.values_list("first_name", "status"))
    assert states == {"Ann": "applied", "Bo": "pending"}
    # Ann and her address.
    assert SettledEvent.objects.count() == 2

    run(JobCode.CONVERT)

    # She was not converted again.
    assert get_ann().first_name == "Ann"
    assert get_ann().hq_version == 1
    assert SettledEvent.objects.count() == 2
    assert set(AsyncCustomer.objects.values_list("status", flat=True)) == {"applied"}
    assert broken_promises() == []


@pytest.mark.slow
def test_a_refused_event_leaves_only_itself_open(popup):
    make_customer(popup, "Bad")
    for name in ("Ann", "Bo", "Cy"):
        make_customer(popup, name)

    with hq_refuses("customer", "NEW.first_name = 'Bad'"):
        convert()

    assert not UploadBatch.objects.unconverted().exists()
    assert not SettledEvent.objects.exists()
    assert OpenEvent.objects.get().reason == "refused"


def test_an_unknown_account_is_ignored_where_the_guid_is_known(popup, ann):
    make_event("address", popup, async_account=ann, account_number="000777")

    convert()

    assert CustomerAddress.objects.get().customer == get_ann()
    event = AsyncAddress.objects.get()
    assert (event.customer, event.status) == (get_ann(), "applied")
    assert not OpenEvent.objects.exists()
    assert broken_promises() == []


@pytest.mark.slow
def test_an_event_keeps_its_customer_when_its_account_becomes_known(popup, ann):
    both = {"async_account": ann, "account_number": "000777"}
    make_event("customer", popup, **both, operation="update", first_name="Anna", phone="111 111")
    make_event("address", popup, **both)
    convert()
    old = import_account(popup.channel.company, "000777", first_name="Old")
    make_event("customer", popup, account_number="000777", operation="update", first_name="Olda")
    # After two edits at once, all that Ann's events say is read again.
    for name in ("Annie", "Anne"):
        make_customer(popup, name, guid=ann, operation="update")

    convert()

    old.refresh_from_db()
    assert (old.first_name, get_ann().first_name) == ("Olda", "Anne")
    assert CustomerAddress.objects.get().customer == get_ann()
    assert AsyncAddress.objects.get().customer == get_ann()
    assert AsyncCustomer.objects.of_customer(old).count() == 1
    assert broken_promises() == []


@pytest.mark.slow
def test_an_event_with_an_unknown_account_waits_for_its_guid(popup):
    ann = uuid4()
    make_event("address", popup, async_account=ann, account_number="000777")
    convert()
    waiting = OpenEvent.objects.get().reason
    make_customer(popup, "Ann", guid=ann)

    convert()

    assert waiting == "account_unknown"
    assert CustomerAddress.objects.get().customer == get_ann()
    assert not OpenEvent.objects.exists()


@pytest.mark.slow
def test_an_edit_at_headquarters_is_a_batch_of_its_own(popup, ann, hq_user):
    customer = get_ann()
    state = complete_state(CUSTOMER, customer, {"first_name": "Anna"})

    edit = Edit(CUSTOMER, {"operation": "update", **state})
    save_edits(customer, [edit], version=customer.hq_version, by=hq_user)

    batch = UploadBatch.objects.get(session=None)
    assert (batch.rows, batch.database, batch.run) == (1, None, None)
    assert batch.converted_at is not None
    assert get_ann().first_name == "Anna"
