"""Show and change one customer."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from stores.management import arguments
from stores.management.base import BUSY, SynclineCommand, add_action, add_actions
from stores.messages.labels import counted
from stores.models import Customer
from stores.models.customer import AccountState
from stores.pipeline.corrections.customer import CustomersBusy, EditsRefused, Stale, save_edits
from stores.web.forms.customer import CustomerForms


class Command(SynclineCommand):
    help = (
        "Shows the fields of a customer with all that belongs to it, or changes some of them, as "
        "the customer's page does. Exit status: 0 done, also if nothing changed, 1 changed by "
        "someone else meanwhile or not active, 2 wrong arguments, 75 busy: customers are being "
        "converted."
    )
    example = "customers change C-000042 --set customer-phone=5550100 --user robin"
    failures = (Stale,)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        show_parser = add_action(actions, "show", self.show_customer)
        add_account(show_parser)
        change_parser = add_action(actions, "change", self.change_customer)
        add_account(change_parser)
        arguments.add_set(change_parser)
        arguments.add_user(change_parser)

    def show_customer(self, options: dict[str, Any]) -> None:
        """Shows the fields that can be changed."""
        customer = get_customer(options)
        values = arguments.form_values(CustomerForms(customer).every_form)
        fields = {name: value or None for name, value in values.items()}
        self.print_fields({"account": customer.account_number}, fields)

    def change_customer(self, options: dict[str, Any]) -> None:
        """Changes some of the fields."""
        customer = get_customer(options)
        user = arguments.get_user(options["user"])
        changes = save_assignments(customer, options["assignments"], user)
        sentence = f"{counted(changes, 'change')} saved." if changes else "No changes."
        self.print_json_or_text({"account": customer.account_number, "changes": changes}, sentence)


def add_account(parser: CommandParser) -> None:
    parser.add_argument("account", metavar="ACCOUNT", help="The account number.")
    parser.add_argument(
        "--company", metavar="CODE", help="The company, if several have the account number."
    )


def get_customer(options: dict[str, Any]) -> Customer:
    """Return the only customer with the account. Errors: CommandError with status 2."""
    account = options["account"]
    customers = Customer.objects.filter(account_number=account)
    return arguments.get_only_row("account", account, customers, "company", options["company"])


def save_assignments(customer: Customer, assignments: list[tuple[str, str]], user: User) -> int:
    """Save the assigned values as edits. Returns their number. Errors: Stale; CommandError."""
    if customer.state != AccountState.ACTIVE:
        raise CommandError(f"Account {customer} is {customer.get_state_display().lower()}.")
    shown = CustomerForms(customer)
    # The forms refuse an edit if the customer has changed since this version.
    version = {"version": str(shown.version)}
    forms = CustomerForms(customer, arguments.form_data(shown.every_form, assignments) | version)
    if not forms.is_valid():
        arguments.raise_form_errors(forms.every_form)
    edits = forms.edits()
    if not edits:
        return 0
    try:
        save_edits(customer, edits, version=forms.posted_version, by=user)
    except CustomersBusy as error:
        raise CommandError(str(error), returncode=BUSY) from error
    except EditsRefused as error:
        forms.add_errors(error)
        arguments.raise_form_errors(forms.every_form)
    return len(edits)
