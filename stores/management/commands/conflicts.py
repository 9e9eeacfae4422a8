"""List conflicting edits and close them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_id, add_reason, add_user, get_row, get_user
from stores.management.base import BUSY, SynclineCommand, add_action, add_actions
from stores.models import EditConflict
from stores.models.conflict import CHOICES_OF_PEOPLE, ConflictChoice
from stores.pipeline.corrections.conflict import ConflictRefused, resolve_conflict
from stores.pipeline.corrections.customer import CustomersBusy

LINE_FORMAT = "{id:<6} {state:<7} {found:%Y-%m-%d %H:%M}  {account:<20} {subject}"


class Command(SynclineCommand):
    help = (
        "Lists conflicting edits, without their values, or closes one by keeping the current value "
        "or using the other one. Exit status: 0 done, 1 not possible, 2 wrong arguments, 75 busy: "
        "customers are being converted."
    )
    example = 'conflicts close 3 --choice take --reason "Asked the customer." --user robin'
    failures = (ConflictRefused,)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = add_action(actions, "list", self.list_conflicts)
        list_parser.add_argument("--all", action="store_true", help="Closed conflicts, too.")
        close_parser = add_action(actions, "close", self.close_conflict)
        add_id(close_parser, "conflict")
        close_parser.add_argument(
            "--choice",
            choices=[choice.value for choice in CHOICES_OF_PEOPLE],
            required=True,
            help="Whether to keep the current value or take the other one.",
        )
        add_reason(close_parser)
        add_user(close_parser)

    def list_conflicts(self, options: dict[str, Any]) -> None:
        """Lists open conflicts, the oldest first."""
        conflicts = EditConflict.objects.select_related("customer").order_by("pk")
        if not options["all"]:
            conflicts = conflicts.open()
        self.print_rows("conflict", map(conflict_as_dict, conflicts), LINE_FORMAT)

    def close_conflict(self, options: dict[str, Any]) -> None:
        """Closes a conflict."""
        conflicts = EditConflict.objects.select_related("customer__company")
        conflict = get_row("conflict", options["id"], conflicts)
        try:
            resolve_conflict(
                conflict,
                ConflictChoice(options["choice"]),
                options["reason"],
                # A change since this customer was read is refused.
                version=conflict.customer.hq_version,
                by=get_user(options["user"]),
            )
        except CustomersBusy as error:
            raise CommandError(str(error), returncode=BUSY) from error
        conflict.refresh_from_db()
        self.print_json_or_text(conflict_as_dict(conflict), f"Conflict {conflict.pk} closed.")


def conflict_as_dict(conflict: EditConflict) -> dict[str, Any]:
    return {
        "id": conflict.pk,
        "state": conflict.state,
        "found": conflict.found_at,
        "account": conflict.customer.account_number,
        "subject": conflict.subject,
        "choice": conflict.choice or None,
        "reason": conflict.reason or None,
    }
