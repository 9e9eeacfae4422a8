"""One customer: show what can be changed, change it."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import (
    add_set,
    add_user,
    chosen_companies,
    chosen_user,
    field_pairs,
    filled_values,
    form_fields,
    only_row,
    refuse_flaws,
)
from stores.management.base import SynclineCommand
from stores.models import Customer
from stores.models.customer import AccountState
from stores.models.labels import counted
from stores.pipeline.corrections.customer import Busy, EditsRefused, Stale, save_edits
from stores.web.forms.customer import CustomerForms


class Command(SynclineCommand):
    help = (
        "Shows the fields of a customer with all that belongs to it, or changes some of them, as "
        "the customer's page does. Exit status: 0 done, also if nothing changed, 1 changed by "
        "someone else meanwhile or not active, 2 wrong arguments, 75 busy: customers are being "
        "converted."
    )
    example = "customers change C-000042 --set customer-phone=5550100 --user robin"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["show", "change"], help="What to do.")
        parser.add_argument("account", metavar="ACCOUNT", help="The account number.")
        parser.add_argument(
            "--company", metavar="CODE", help="The company, if several have the account number."
        )
        add_set(parser)
        add_user(parser, "change")

    def handle(self, *args: Any, **options: Any) -> None:
        customer = chosen_customer(options["account"], options["company"])
        document: dict[str, Any] = {"account": customer.account_number}
        forms = CustomerForms(customer)
        if options["action"] == "show":
            self.answer_fields(document, form_fields(forms.all))
            return
        user = chosen_user(options["user"])
        if customer.state != AccountState.ACTIVE:
            raise CommandError(f"Account {customer} is {customer.get_state_display().lower()}.")
        sent = filled_values(forms.all, field_pairs(options["given"])) | {
            "version": str(forms.version)
        }
        changes = save_edits_of(customer, CustomerForms(customer, sent), user)
        sentence = f"{counted(changes, 'change')} saved." if changes else "No changes."
        self.answer(document | {"changes": changes}, sentence)


def chosen_customer(account: str, company: str | None) -> Customer:
    customers = Customer.objects.filter(account_number=account)
    if company is not None:
        customers = customers.filter(company__in=chosen_companies([company]))
    return only_row("account", account, customers, "company")


def save_edits_of(customer: Customer, changed: CustomerForms, user: Any) -> int:
    """Save what was given. Returns how many edits that were. Errors: CommandError."""
    if not changed.is_valid():
        refuse_flaws(changed.all)
    edits = [edit for _, edit in changed.edits()]
    try:
        if edits:
            save_edits(customer, edits, version=changed.seen, by=user)
    except Busy as error:
        raise CommandError(str(error), returncode=75) from None
    except Stale as error:
        raise CommandError(str(error)) from None
    except EditsRefused as refused:
        changed.blame(refused)
        refuse_flaws(changed.all)
    return len(edits)
