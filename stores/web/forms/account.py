"""The account number of a customer in a form."""

from django import forms

from stores.models import Company, Customer

MAX_LENGTH = Customer._meta.get_field("account_number").max_length


def customer_with_account(account: str, company: Company) -> Customer:
    """The customer of a company with this account number. Errors: ValidationError."""
    customer = Customer.objects.filter(company=company, account_number=account).first()
    if customer is None:
        raise forms.ValidationError(f"{company} has no customer with this account number.")
    return customer
