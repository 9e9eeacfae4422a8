"""A bulk correction is undone only where nothing depends on the corrected values.

From conftest.py: `houston` is a store on PostgreSQL; `hq_user` is robin, a user at headquarters.
"""

import pytest

from stores.models import RetailTransactionPayment, Statement
from stores.models.failed_sale import SaleCause
from stores.models.job import JobCode
from stores.pipeline.corrections.sale import LINE_FIELDS, PAYMENT_FIELDS
from stores.pipeline.corrections.sales import CorrectionScope, correct_all
from stores.pipeline.corrections.undo import can_undo, undo_bulk_correction
from tests.support.make import run
from tests.support.orders import make_order
from tests.support.promises import broken_promises

FOREIGN_PAYMENT = SaleCause("payment_currency", "currency", "payment")


@pytest.fixture
def correction(houston, hq_user):
    """The correction of a payment for an order, which its till had written in euros."""
    payment = {"tender_type": "cash", "amount": "10.70", "currency": "EUR"}
    make_order(houston, "SO-1", payments=[payment], payment_amount="10.70")
    run(JobCode.UPLOAD)
    run(JobCode.VALIDATE)
    result = correct_all(FOREIGN_PAYMENT, CorrectionScope(), hq_user, "Typo.", {"currency": "USD"})
    assert result.corrected == 1
    return result.correction


def currency_of_payment():
    return RetailTransactionPayment.objects.get().currency


def test_the_name_of_a_field_tells_lines_from_payments():
    # The record of a change has the name, and not the part.
    assert not set(LINE_FIELDS) & set(PAYMENT_FIELDS)


def test_a_correction_of_a_payment_is_undone(correction, hq_user):
    assert can_undo(correction)

    assert undo_bulk_correction(correction, hq_user, "Was right.") == (1, 0)

    assert currency_of_payment() == "EUR"


@pytest.mark.parametrize("last_job", [JobCode.CALCULATE, JobCode.POST])
def test_a_payment_in_a_statement_keeps_its_correction(correction, hq_user, last_job):
    run(JobCode.CALCULATE)
    run(last_job)
    assert Statement.objects.get().tenders.get().prepaid_amount > 0

    assert not can_undo(correction)
    assert undo_bulk_correction(correction, hq_user, "Was right.") == (0, 1)

    assert currency_of_payment() == "USD"
    run(JobCode.POST)
    assert Statement.objects.get().state == "posted"
    assert broken_promises() == []
