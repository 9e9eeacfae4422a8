"""Whom a text means: a GUID, an account, an e-mail, a phone or part of a name."""

from django.db.models import Q

from stores.models import Company, Customer
from stores.models.characters import tidy_key
from stores.models.search import contact_key, matches_name, matches_own_contact

# A search that finds more people than this is answered with so many of them.
MAX_FOUND = 1_000
TOO_MANY_MESSAGE = "Too many customers match to list them all: type more of the name."


def customer_ids(text: str) -> list[int]:
    """Ids of the customers that a text means: by account, else by e-mail or phone, else by name.

    One more than MAX_FOUND stands for any number beyond it.
    """
    text = tidy_key(text)
    customers = Customer.objects.values_list("pk", flat=True)
    companies = list(Company.objects.values_list("pk", flat=True))
    for condition in (
        Q(company__in=companies, account_number=text),
        *(matches_own_contact(key) for key in [contact_key(text)] if key),
        matches_name(text),
    ):
        if matching := list(customers.filter(condition)[: MAX_FOUND + 1]):
            return matching
    return []
