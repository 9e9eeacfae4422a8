"""Conflicting edits: list them, close one."""

import re
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_user, chosen_reason, chosen_user, refuse_flaws
from stores.management.base import SynclineCommand, print_json
from stores.models import EditConflict
from stores.models.conflict import Choice
from stores.pipeline.corrections.customer import (
    Busy,
    EditsRefused,
    Stale,
    can_be_closed,
    resolve_conflict,
)
from stores.web.forms.conflict import ConflictForm

ROW_FORMAT = "{id:<6} {state:<7} {found:%Y-%m-%d %H:%M}  {account:<20} {subject}"


class Command(SynclineCommand):
    help = (
        "List conflicting edits, never a value of theirs, or close one: keep the present value or "
        "take the other. Exit status: 0 done, 1 not possible, 2 wrong arguments, 75 busy: "
        "customers are being converted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "close"])
        parser.add_argument("id", nargs="?", metavar="ID", help="close: as list names it")
        parser.add_argument(
            "--choice", choices=[Choice.KEEP, Choice.TAKE], help="close: which value stays"
        )
        parser.add_argument("--reason", metavar="R", help="close: why, in your words")
        add_user(parser, "close")
        parser.add_argument("--all", action="store_true", help="list: closed ones too")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list(options)
            return
        conflict = chosen(options["id"])
        if options["choice"] is None:
            raise CommandError("Say with --choice which value stays: keep or take.", returncode=2)
        form = ConflictForm(
            {
                "choice": options["choice"],
                "reason": chosen_reason(options["reason"]),
                "version": conflict.customer.hq_version,
            }
        )
        refuse_flaws([form])
        close_chosen(conflict, form, chosen_user(options["user"]))
        conflict.refresh_from_db()
        if options["json"]:
            print_json(self, described(conflict))
        else:
            self.stdout.write(f"Conflict {conflict.pk} closed.")

    def list(self, options: dict[str, Any]) -> None:
        """Open conflicts, oldest first; with --all also those that a rule or a person closed."""
        rows = EditConflict.objects.select_related("customer").order_by("pk")
        conflicts = [described(row) for row in (rows if options["all"] else rows.open())]
        if options["json"]:
            print_json(self, {"conflicts": conflicts})
            return
        for row in conflicts:
            self.stdout.write(ROW_FORMAT.format_map(row))
        self.stdout.write(f"{len(conflicts)} conflicts." if len(conflicts) != 1 else "1 conflict.")


def chosen(number: str | None) -> EditConflict:
    """The conflict with this number. Errors: CommandError with status 2."""
    pk = int(number) if number and re.fullmatch(r"\d{1,18}", number, re.ASCII) else 0
    conflicts = EditConflict.objects.select_related("customer__company")
    if not (conflict := conflicts.filter(pk=pk).first()):
        raise CommandError(f"There is no conflict {number or ''!r}; list shows them.", returncode=2)
    return conflict


def close_chosen(conflict: EditConflict, form: ConflictForm, user: Any) -> None:
    """Do what was chosen. Errors: CommandError with status 1, or 75 while others convert."""
    choice = Choice(form.cleaned_data["choice"])
    reason, version = form.cleaned_data["reason"], form.cleaned_data["version"]
    try:
        is_open = can_be_closed(conflict)
        is_closed_now = is_open and resolve_conflict(
            conflict, choice, reason, version=version, by=user
        )
    except Busy as error:
        raise CommandError(str(error), returncode=75) from None
    except Stale as error:
        raise CommandError(str(error)) from None
    except EditsRefused as refused:
        broken = ", ".join(rule.field for rules in refused.broken.values() for rule in rules)
        raise CommandError(f"The other value breaks a current rule: {broken}.") from None
    if not is_closed_now:
        raise CommandError("The conflict is already closed.")


def described(conflict: EditConflict) -> dict[str, Any]:
    """What a conflict says of itself; never a value."""
    return {
        "id": conflict.pk,
        "state": conflict.state,
        "found": conflict.found_at,
        "account": conflict.customer.account_number,
        "subject": conflict.subject,
        "choice": conflict.choice or None,
        "reason": conflict.reason or None,
    }
