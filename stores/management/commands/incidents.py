"""List incidents and resolve them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.errors import ChannelError
from stores.management.arguments import WrongArgument, chosen_reason, chosen_row
from stores.management.base import SynclineCommand
from stores.models import Incident
from stores.pipeline.fence.acceptance import AcceptanceRefused, accept_database, renew_database

ROW_FORMAT = "{id:<6} {kind:<18} {status:<7} {since:%Y-%m-%d %H:%M}  {message}"


class Command(SynclineCommand):
    help = (
        "Lists incidents, closes one, or resolves that of a channel: accept takes the database at "
        "its address as the right one, renew makes it a database of its own. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = 'incidents close 3 --reason "The till was repaired."'

    def add_arguments(self, parser: CommandParser) -> None:
        actions = ["list", "close", "accept", "renew"]
        parser.add_argument("action", choices=actions, help="What to do.")
        parser.add_argument(
            "id",
            nargs="?",
            metavar="ID",
            help="close, accept, renew: the incident, as printed by list.",
        )
        parser.add_argument(
            "--reason", metavar="TEXT", help="close, accept, renew: why; it is recorded."
        )
        parser.add_argument("--all", action="store_true", help="list: closed incidents, too.")

    def handle(self, *args: Any, **options: Any) -> None:
        incidents = Incident.objects.select_related("database__channel")
        if options["action"] == "list":
            rows = (incidents if options["all"] else incidents.open()).order_by("pk")
            self.answer_rows("incident", [described(row) for row in rows], ROW_FORMAT)
            return
        incident = chosen_row("incident", options["id"], incidents)
        if incident.closed_at:
            raise WrongArgument(f"Incident {incident.pk} is already closed.")
        resolve_incident(options["action"], incident, chosen_reason(options["reason"]))
        incident.refresh_from_db()
        self.answer(described(incident), f"Incident {incident.pk} is closed.")


def resolve_incident(action: str, incident: Incident, reason: str) -> None:
    """Do what was asked. Errors: CommandError with status 1."""
    if action == "close":
        if not incident.is_closed_by_hand:
            raise CommandError("Resolve this incident with the command recover_hq.")
        incident.close(reason)
        return
    if incident.database is None:
        raise CommandError("This incident is not about a channel: close it.")
    work = accept_database if action == "accept" else renew_database
    try:
        work(incident.database, reason)
    except (AcceptanceRefused, ChannelError) as error:
        raise CommandError(str(error)) from None
    incident.close(reason)


def described(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.pk,
        "kind": incident.kind,
        "channel": incident.database.label if incident.database else None,
        "status": incident.status,
        "since": incident.opened_at,
        "last_seen": incident.last_seen_at,
        "times": incident.times,
        "message": incident.message,
        "next_step": incident.next_step,
        "detail": incident.detail,
        "closing_reason": incident.closing_reason or None,
    }
