"""Search of customers by GUID, account, e-mail address, phone number or part of a name."""

from django.db.models import Q

from stores.models import Company, Customer
from stores.models.search import contact_key, matches_name, matches_own_contact
from stores.values.characters import normalize_key

MAX_FOUND = 1_000
TOO_MANY_MESSAGE = "Too many customers match to list them all: type more of the name."


def customer_ids(text: str) -> list[int]:
    """Ids of up to MAX_FOUND + 1 customers with this account, else e-mail or phone, else name."""
    text = normalize_key(text)
    # The index of account numbers begins with the company.
    companies = list(Company.objects.values_list("pk", flat=True))
    conditions = [Q(company__in=companies, account_number=text)]
    if key := contact_key(text):
        conditions.append(matches_own_contact(key))
    conditions.append(matches_name(text))
    customers = Customer.objects.values_list("pk", flat=True)
    for condition in conditions:
        if ids := list(customers.filter(condition)[: MAX_FOUND + 1]):
            return ids
    return []
