"""Show and change one customer."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import (
    add_set,
    add_user,
    check_company,
    form_data,
    form_values,
    get_user,
    is_searchable,
    raise_form_errors,
)
from stores.management.base import SynclineCommand, add_actions
from stores.models import Customer
from stores.models.customer import AccountState
from stores.models.labels import counted
from stores.pipeline.corrections.customer import Busy, EditsRefused, Stale, save_edits
from stores.web.forms.customer import CustomerForms


class Command(SynclineCommand):
    help = (
        "Show the fields of one customer with all that belongs to it, or change some: events of "
        "headquarters, as on the customer's page. Exit status: 0 done, also when nothing was "
        "changed, 1 changed meanwhile or not active, 2 wrong arguments, 75 busy: customers are "
        "being converted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        show_parser = actions.add_parser("show", help="show the fields that can be changed")
        add_account(show_parser)
        change_parser = actions.add_parser("change", help="change fields")
        add_account(change_parser)
        add_set(change_parser)
        add_user(change_parser)

    def handle(self, *args: Any, **options: Any) -> None:
        customer = get_customer(options["account"], options["company"])
        if options["action"] == "show":
            self.show_customer(customer, as_json=options["json"])
            return
        changes = change_customer(customer, options["assignments"], get_user(options["user"]))
        if options["json"]:
            self.print_json({"account": customer.account_number, "changes": changes})
        elif changes:
            self.stdout.write(f"{counted(changes, 'change')} saved.")
        else:
            self.stdout.write("No changes.")

    def show_customer(self, customer: Customer, *, as_json: bool) -> None:
        fields = form_values(CustomerForms(customer).all)
        if as_json:
            values = {name: value or None for name, value in fields.items()}
            self.print_json({"account": customer.account_number, "fields": values})
            return
        for name, value in fields.items():
            self.stdout.write(f"{name:<30} {value or '-'}")


def add_account(parser: CommandParser) -> None:
    parser.add_argument("account", metavar="ACCOUNT", help="the account number")
    parser.add_argument(
        "--company", metavar="C", help="needed where several companies have the account"
    )


def get_customer(account: str, company: str | None) -> Customer:
    """Return the only customer with this account. Errors: CommandError with status 2."""
    check_company(company)
    customers = Customer.objects.filter(account_number=account).select_related("company")
    if company is not None:
        customers = customers.filter(company=company)
    matches = list(customers.order_by("company")) if is_searchable(account) else []
    if not matches:
        raise CommandError(f"No customer has the account {account!r}.", returncode=2)
    if len(matches) > 1:
        companies = ", ".join(customer.company_id for customer in matches)
        raise CommandError(
            f"Several companies have this account ({companies}). Choose one with --company.",
            returncode=2,
        )
    return matches[0]


def change_customer(customer: Customer, assignments: list[tuple[str, str]], user: User) -> int:
    """Save the assigned values as edits. Returns the number of edits. Errors: CommandError."""
    if customer.state != AccountState.ACTIVE:
        raise CommandError(f"Account {customer} is {customer.get_state_display().lower()}.")
    unbound = CustomerForms(customer)
    version = {"version": str(unbound.version)}
    forms = CustomerForms(customer, form_data(unbound.all, assignments) | version)
    if not forms.is_valid():
        raise_form_errors(forms.all)
    edits = [edit for _, edit in forms.edits()]
    if not edits:
        return 0
    try:
        save_edits(customer, edits, version=forms.seen, by=user)
    except Busy as error:
        raise CommandError(str(error), returncode=75) from error
    except Stale as error:
        raise CommandError(str(error)) from error
    except EditsRefused as error:
        forms.add_errors(error)
        raise_form_errors(forms.all)
    return len(edits)
