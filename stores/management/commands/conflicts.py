"""Conflicting edits: list them, close one."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import (
    WrongArgument,
    add_user,
    chosen_reason,
    chosen_row,
    chosen_user,
    refuse_flaws,
)
from stores.management.base import SynclineCommand
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
        "Lists conflicting edits, without their values, or closes one by keeping the current value "
        "or using the other one. Exit status: 0 done, 1 not possible, 2 wrong arguments, 75 busy: "
        "customers are being converted."
    )
    example = 'conflicts close 3 --choice take --reason "Asked the customer." --user robin'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "close"], help="What to do.")
        parser.add_argument(
            "id", nargs="?", metavar="ID", help="close: the conflict, as printed by list."
        )
        parser.add_argument(
            "--choice",
            choices=[Choice.KEEP, Choice.TAKE],
            help="close: whether to keep the current value or take the other one.",
        )
        parser.add_argument("--reason", metavar="TEXT", help="close: why; it is recorded.")
        add_user(parser, "close")
        parser.add_argument("--all", action="store_true", help="list: closed conflicts, too.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            conflicts = EditConflict.objects.select_related("customer").order_by("pk")
            conflicts = conflicts if options["all"] else conflicts.open()
            self.answer_rows("conflict", [described(row) for row in conflicts], ROW_FORMAT)
            return
        conflict = chosen_row(
            "conflict", options["id"], EditConflict.objects.select_related("customer__company")
        )
        if options["choice"] is None:
            raise WrongArgument("--choice is required: keep or take.")
        form = ConflictForm(
            {
                "choice": options["choice"],
                "reason": chosen_reason(options["reason"]),
                "version": conflict.customer.hq_version,
            }
        )
        refuse_flaws([form])
        close_conflict(conflict, form, chosen_user(options["user"]))
        conflict.refresh_from_db()
        self.answer(described(conflict), f"Conflict {conflict.pk} closed.")


def close_conflict(conflict: EditConflict, form: ConflictForm, user: Any) -> None:
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
