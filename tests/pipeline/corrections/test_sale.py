"""Corrections of one transaction: what is recorded, and what cannot be changed.

From conftest.py: `houston` is a store on PostgreSQL.
"""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from stores.models import RetailTransaction, TransactionChange
from stores.models.job import JobCode
from stores.pipeline.corrections.sale import correct_transaction, lease_transaction
from tests.support.make import make_sale, run


def leased_sale(channel):
    """A sale that clerk is correcting, and clerk."""
    make_sale(channel)
    run(JobCode.UPLOAD)
    sale, clerk = RetailTransaction.objects.get(), User.objects.create_user("clerk")
    lease_transaction(sale, clerk)
    return sale, clerk


def test_a_correction_records_the_value_that_it_replaces(houston):
    sale, clerk = leased_sale(houston)
    RetailTransaction.objects.update(net_amount=3)

    correct_transaction(sale, clerk, "Typed wrong.", {sale: {"net_amount": Decimal(4)}})

    change = TransactionChange.objects.get()
    assert (change.field, change.old, change.new) == ("net_amount", "3.0000", "4")


def test_a_field_that_identifies_a_transaction_cannot_be_corrected(houston):
    sale, clerk = leased_sale(houston)

    with pytest.raises(ValueError, match="transaction_id"):
        correct_transaction(sale, clerk, "Typed wrong.", {sale: {"transaction_id": "T-2"}})

    assert not TransactionChange.objects.exists()


def test_a_line_of_another_transaction_cannot_be_corrected(houston):
    sale, clerk = leased_sale(houston)
    make_sale(houston, transaction_id="T-2")
    run(JobCode.UPLOAD)
    line = RetailTransaction.objects.get(transaction_id="T-2").lines.get()

    with pytest.raises(KeyError):
        correct_transaction(sale, clerk, "Typed wrong.", {line: {"quantity": Decimal(2)}})
