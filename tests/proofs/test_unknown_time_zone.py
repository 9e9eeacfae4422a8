"""A channel whose time zone the database does not know stops no other channel.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`hq_user` is robin, a user at headquarters.
"""

from datetime import date, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from stores.models import Case, Channel, Customer, RetailTransaction, Statement
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="P7")]

ONE_DAY = timedelta(days=1)
MESSAGE = (
    "houston: headquarters' database does not know its time zone Nowhere/Land, so its business"
    " days cannot end. Choose another time zone in the channel's settings."
)


def set_unknown_time_zone() -> None:
    """Give houston a zone that the database does not know, as after an upgrade that drops it."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE channel SET time_zone = 'Nowhere/Land' WHERE code = 'houston'")
        cursor.execute("SET session_replication_role = DEFAULT")


def test_a_channel_cannot_be_saved_with_an_unknown_time_zone(houston):
    channel = Channel.objects.get(pk=houston.channel_id)
    channel.time_zone = "localtime"

    with pytest.raises(ValidationError, match="time zone"):
        channel.full_clean()
    with pytest.raises(IntegrityError, match="time zone"), transaction.atomic():
        channel.save()


def test_sales_without_a_business_date_are_quarantined(houston):
    set_unknown_time_zone()
    good = make_customer(houston, "Good")
    make_sale(houston, business_date=None)
    make_sale(houston)

    result = run("pipeline")

    assert result["outcome"] == "succeeded"
    assert Customer.objects.filter(guids__async_account=good).exists()
    assert RetailTransaction.objects.count() == 1
    case = Case.objects.unsettled().get()
    assert (case.reason, case.field) == ("time_zone_unknown", "business_date")


@pytest.fixture
def unposted_day(houston, seattle) -> date:
    """A day with sales in both stores, after which Houston's time zone became unknown.

    Houston's statement of the day before is calculated already.
    """
    Channel.objects.update(statement_mode="end_of_day")
    day = timezone.now().date() - 2 * ONE_DAY
    make_sale(houston, business_date=day - ONE_DAY)
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    make_sale(houston, business_date=day)
    make_sale(seattle, business_date=day)
    set_unknown_time_zone()
    return day


def test_only_the_channel_without_a_time_zone_is_not_posted(unposted_day):
    result = run("eod")

    assert result["outcome"] == "partly"
    failed_steps = [step for step in result["steps"] if step["outcome"] == "failed"]
    assert [step["message"] for step in failed_steps] == [MESSAGE]
    posted = Statement.objects.filter(state="posted").values_list("channel__code", "business_date")
    assert set(posted) == {("houston", unposted_day - ONE_DAY), ("seattle", unposted_day)}


def test_the_overview_names_the_channel_until_its_time_zone_is_known(unposted_day, hq_user, client):
    client.force_login(hq_user)
    run("eod")
    assert "does not know Nowhere/Land" in client.get("/").content.decode()
    Channel.objects.update(time_zone="America/Chicago")

    assert run("eod")["counts"]["posted"] == 1

    assert "time zone of houston" not in client.get("/").content.decode()


def test_a_trickle_feed_channel_needs_no_time_zone(houston):
    Channel.objects.update(statement_mode="trickle_feed")
    set_unknown_time_zone()
    make_sale(houston, business_date=timezone.now().date() - 2 * ONE_DAY)

    assert run("eod")["counts"]["posted"] == 1
