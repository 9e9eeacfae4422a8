"""Sales for the pages of transactions, orders and statements."""

from datetime import date
from typing import Any

import pytest
from django.test import Client

from stores.models import RetailTransaction
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run


@pytest.fixture
def sales_day() -> date:
    """A business date that has ended."""
    return date(2026, 11, 20)


@pytest.fixture
def sales(houston, sales_day) -> None:
    """T-1 is a posted sale of Ann's, T-2 a synchronized order of hers, T-3 does not add up."""
    ann = make_customer(houston)
    make_sale(houston, business_date=sales_day, async_account=ann, transaction_id="T-1")
    run("eod")
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-W1"}
    make_sale(houston, business_date=sales_day, async_account=ann, transaction_id="T-2", **order)
    make_sale(houston, business_date=sales_day, transaction_id="T-3", net_amount="11.00")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.ORDERS):
        run(job)


@pytest.fixture
def open_correction():
    """Opens a transaction for correction, as a user does. Returns the data of its form."""

    def open_form(client: Client, sale: RetailTransaction) -> dict[str, Any]:
        response = client.post(f"/transactions/{sale.pk}/correct/", {"open": "1"})
        form = response.context["form"]
        initial = {name: form[name].initial for name in form.fields}
        return {name: "" if value is None else value for name, value in initial.items()}

    return open_form
