"""Wherever a process dies on the way of a sale, everything is posted once."""

import signal

import pytest

from stores.failpoints import SALES_POINTS
from stores.jobs.stalled import heal
from stores.models import JobRun, RetailTransaction, SalesOrder, Statement
from stores.pipeline.verify import verify
from tests.make import make_customer, make_sale
from tests.processes import forking


@pytest.fixture(scope="module")
def forks(django_db_setup, tmp_path_factory):
    """The process that forks one job after the other."""
    with forking(tmp_path_factory.mktemp("crash") / "answer.json") as ask:
        yield ask


@pytest.mark.parametrize("point", SALES_POINTS)
def test_dying_on_the_way_of_a_sale_posts_everything_once(houston, forks, point):
    ann = make_customer(houston)
    for price in ("10.00", "20.00"):
        make_sale(houston, price, async_account=ann)
    make_sale(houston, "5.00")
    make_sale(
        houston, transaction_type="customer_order", confirmation_number="SO-1", async_account=ann
    )
    job = "sync-orders" if point.startswith("orders") else "eod"
    assert forks("P-0001") == 0

    assert forks(f"{job} {point} kill") == -signal.SIGKILL

    heal()
    for again in ("eod", "sync-orders"):
        assert forks(again) == 0
    assert JobRun.objects.filter(status="lost").exists()
    assert [statement.state for statement in Statement.objects.all()] == ["posted"]
    assert SalesOrder.objects.count() == 3
    assert not RetailTransaction.objects.filter(sales_order=None).exists()
    assert [check.id for check in verify() if not check.ok] == []
