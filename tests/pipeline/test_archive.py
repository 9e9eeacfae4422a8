"""A channel that has closed is archived. Nothing of it is lost unnoticed; it can be brought back.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `hq_user` is robin,
a user at headquarters; `command` calls a management command and returns its output.
"""

from datetime import date

import pytest
from django.core.management.base import CommandError

from stores.models import Customer
from stores.models.job import JobCode
from stores.pipeline.archive import (
    ArchiveRefused,
    StillWaiting,
    archive_channel,
    restore_channel,
    what_waits,
)
from tests.support.make import lookup, make_customer, make_sale, out_of_reach, run
from tests.support.promises import broken_promises


def test_an_archived_channel_is_visited_no_more_and_stays_in_the_trace(houston, popup, hq_user):
    guid = make_customer(popup, "Ann")
    run("pipeline")

    archive_channel(popup.channel, "Closed for good.", by=hq_user)
    make_customer(houston, "Bo")
    result = run("pipeline")

    assert {step["channel"] for step in result["steps"]} == {"houston", None}
    assert [name for _, name in lookup(popup)] == ["Ann"]
    assert Customer.objects.get(guids__async_account=guid).guids.get().channel == popup.channel
    channel = popup.channel
    channel.refresh_from_db()
    assert (channel.archived_by, channel.archive_reason) == (hq_user, "Closed for good.")
    assert broken_promises() == []


def test_a_channel_that_is_brought_back_receives_what_it_missed(houston, popup):
    archive_channel(popup.channel, "Closed for good.")
    make_customer(houston, "Ann")
    run("pipeline")

    restore_channel(popup.channel)
    run("pipeline")

    assert lookup(popup) == lookup(houston)


def test_a_channel_of_which_something_waits_is_not_archived(houston, popup):
    make_customer(popup, "Cy", email="nobody")
    make_sale(popup, business_date=date(2026, 11, 20))
    run("pipeline")
    make_customer(houston, "Ann")
    run("pipeline", channels=["houston"])
    make_customer(popup, "Bo")

    with pytest.raises(StillWaiting) as refusal:
        archive_channel(popup.channel, "Closed for good.")

    assert refusal.value.obstacles == [
        "Not uploaded: 1 event of popup.",
        "In quarantine: 1 row.",
        "Not delivered: 1 customer to popup.",
        "Not posted: 1 business date, from 2026-11-20 on.",
    ]
    popup.channel.refresh_from_db()
    assert not popup.channel.is_archived


def test_a_channel_is_not_archived_before_its_customers_are_converted(popup):
    make_customer(popup, "Ann")
    run(JobCode.UPLOAD)

    assert list(what_waits(popup.channel)) == ["Not converted: 1 operation."]


def test_what_an_unreachable_channel_has_is_unknown(popup):
    with out_of_reach(popup), pytest.raises(StillWaiting, match="is unknown: Channel popup cannot"):
        archive_channel(popup.channel, "Burnt down.")


def test_a_person_may_archive_a_channel_whatever_waits(popup):
    make_customer(popup, "Ann")

    archive_channel(popup.channel, "Burnt down.", whatever_waits=True)

    assert run("pipeline")["outcome"] == "nothing_to_do"


def test_a_channel_is_archived_and_brought_back_once(popup):
    archive_channel(popup.channel, "Closed for good.")
    with pytest.raises(ArchiveRefused, match="is archived already"):
        archive_channel(popup.channel, "Again.", whatever_waits=True)

    restore_channel(popup.channel)
    with pytest.raises(ArchiveRefused, match="is not archived"):
        restore_channel(popup.channel)


def test_an_archived_channel_cannot_be_sold_to(popup, command):
    archive_channel(popup.channel, "Closed for good.")

    with pytest.raises(CommandError, match="Channel popup is archived"):
        command("generate_traffic", "popup", "--sales", "1")
