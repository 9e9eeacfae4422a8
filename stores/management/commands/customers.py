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
    is_text,
    refuse_flaws,
)
from stores.management.base import SynclineCommand, print_json
from stores.models import Customer
from stores.models.customer import AccountState
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
        parser.add_argument("action", choices=["show", "change"])
        parser.add_argument("account", metavar="ACCOUNT")
        parser.add_argument("--company", metavar="C", help="where several have the account")
        add_set(parser)
        add_user(parser, "change")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        customer = chosen(options["account"], options["company"])
        if options["action"] == "show":
            self.show(customer, as_json=options["json"])
            return
        user = chosen_user(options["user"])
        if customer.state != AccountState.ACTIVE:
            raise CommandError(f"Account {customer} is {customer.get_state_display().lower()}.")
        forms = CustomerForms(customer)
        sent = filled_values(forms.all, field_pairs(options["given"])) | {
            "version": str(forms.version)
        }
        changed = save_edits_of(customer, CustomerForms(customer, sent), user)
        if options["json"]:
            print_json(self, {"account": customer.account_number, "changes": changed})
        elif changed:
            self.stdout.write(f"{changed} change{'' if changed == 1 else 's'} saved.")
        else:
            self.stdout.write("No changes.")

    def show(self, customer: Customer, *, as_json: bool) -> None:
        """Every field that can be changed, with its value."""
        fields = form_fields(CustomerForms(customer).all)
        if as_json:
            print_json(self, {"account": customer.account_number, "fields": fields})
            return
        for name, value in fields.items():
            self.stdout.write(f"{name:<30} {value if value is not None else '-'}")


def chosen(account: str, company: str | None) -> Customer:
    """The customer with this account. Errors: CommandError with status 2."""
    chosen_companies([company] if company is not None else [])
    customers = Customer.objects.filter(account_number=account) if is_text(account) else None
    customers = Customer.objects.none() if customers is None else customers
    customers = customers.filter(company=company) if company is not None else customers
    matching = list(customers.select_related("company").order_by("company"))
    if not matching:
        raise CommandError(f"No customer has the account {account!r}.", returncode=2)
    if len(matching) > 1:
        codes = ", ".join(str(customer.company_id) for customer in matching)
        raise CommandError(f"Several companies have it ({codes}): --company.", returncode=2)
    return matching[0]


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
