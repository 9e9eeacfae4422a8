"""A new customer inherits how receipts are given and where its sales are accounted for.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `boss` is a
client of an administrator.
"""

import pytest

from stores.models import ChannelDatabase, Customer, CustomerGroup
from stores.models.customer import ReceiptPreference
from stores.models.job import JobCode
from tests.support.make import make_customer, run


@pytest.fixture
def template(houston) -> Customer:
    """The default customer of houston, in the group 30."""
    CustomerGroup.objects.create(
        company=houston.channel.company, code="30", financial_dimensions="001-022"
    )
    template = houston.channel.default_customer
    Customer.objects.filter(pk=template.pk).update(
        customer_group="30", receipt_preference=ReceiptPreference.EMAIL
    )
    return template


def convert(database: ChannelDatabase, **columns: str) -> Customer:
    """The account of a new customer of the channel."""
    make_customer(database, **columns)
    run(JobCode.PIPELINE)
    return Customer.objects.get(account_number="005001")


def test_a_new_customer_inherits_the_receipt_preference(houston, template):
    assert convert(houston).receipt_preference == "email"


def test_dimensions_come_from_the_group_of_the_default_customer(houston, template):
    customer = convert(houston, customer_group="40")

    assert (customer.customer_group, customer.financial_dimensions) == ("40", "001-022")


def test_dimensions_do_not_come_from_the_default_customer_itself(houston, template):
    Customer.objects.filter(pk=template.pk).update(financial_dimensions="999", customer_group="50")

    assert convert(houston).financial_dimensions is None


def test_a_customer_page_shows_what_was_inherited(boss, houston, template):
    convert(houston)

    page = boss.get("/customers/005001/").content.decode()

    assert "By e-mail" in page
    assert "001-022" in page


def test_the_receipt_preference_of_a_default_customer_is_set_in_the_settings(boss, template):
    url = f"/admin/stores/customer/{template.pk}/change/"

    boss.post(url, {"receipt_preference": "both"})

    template.refresh_from_db()
    assert template.receipt_preference == "both"
    assert template.name == "Default customer of Houston"
