"""List incidents and settle them."""

import re
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.errors import ChannelError
from stores.management.arguments import chosen_reason
from stores.management.base import SynclineCommand, print_json
from stores.models import Incident
from stores.pipeline.fence.acceptance import AcceptanceRefused, accept_database, renew_database


class Command(SynclineCommand):
    help = (
        "List incidents, close one, or settle that of a channel: accept takes the database at its "
        "address as the right one, renew makes it a database of its own. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "close", "accept", "renew"])
        parser.add_argument(
            "id",
            nargs="?",
            metavar="ID",
            help="close, accept, renew: the incident, as list names it",
        )
        parser.add_argument(
            "--reason", metavar="R", help="close, accept, renew: why; kept with the incident"
        )
        parser.add_argument("--all", action="store_true", help="list: closed ones too")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list(options)
            return
        incident = chosen(options["id"])
        reason = chosen_reason(options["reason"])
        settle_incident(options["action"], incident, reason)
        incident.refresh_from_db()
        if options["json"]:
            print_json(self, described(incident))
        else:
            self.stdout.write(f"Incident {incident.pk} is closed.")

    def list(self, options: dict[str, Any]) -> None:
        """Open incidents, oldest first; with --all also those that are closed."""
        rows = Incident.objects.select_related("database__channel").order_by("pk")
        incidents = [described(row) for row in (rows if options["all"] else rows.open())]
        if options["json"]:
            print_json(self, {"incidents": incidents})
            return
        for row in incidents:
            self.stdout.write(ROW_FORMAT.format_map(row))
        self.stdout.write(f"{len(incidents)} incidents." if len(incidents) != 1 else "1 incident.")


ROW_FORMAT = "{id:<6} {kind:<18} {status:<7} {since:%Y-%m-%d %H:%M}  {message}"


def chosen(number: str | None) -> Incident:
    """The incident with this number. Errors: CommandError with status 2."""
    if number is None:
        raise CommandError("Name the incident.", returncode=2)
    pk = int(number) if re.fullmatch(r"\d{1,18}", number, re.ASCII) else 0
    incident = Incident.objects.select_related("database__channel").filter(pk=pk).first()
    if incident is None:
        raise CommandError(f"There is no incident {number!r}; list shows them.", returncode=2)
    if incident.closed_at:
        raise CommandError(f"Incident {pk} was closed already.", returncode=2)
    return incident


def settle_incident(action: str, incident: Incident, reason: str) -> None:
    """Do what was asked. Errors: CommandError with status 1."""
    if action == "close":
        if not incident.is_closed_by_hand:
            raise CommandError("Resolve this incident with the command recover_hq.")
        incident.close(reason)
        return
    if incident.database is None:
        raise CommandError("This incident is about no channel: close it.")
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
