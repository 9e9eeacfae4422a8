"""List incidents and resolve them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.channeldb.errors import ChannelError
from stores.management.arguments import add_id, add_reason, get_row
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.models import Incident
from stores.pipeline.fence.acceptance import AcceptanceRefused, accept_database, renew_database

LINE_FORMAT = "{id:<6} {kind:<18} {status:<7} {since:%Y-%m-%d %H:%M}  {message}"
RESOLVING_ACTIONS = {
    "close": "Closes an incident; what is still wrong opens a new one.",
    "accept": "Accepts the database at the channel's address as the right one.",
    "renew": "Makes the copy at the channel's address a database of its own.",
}


class Command(SynclineCommand):
    help = (
        "Lists incidents, closes one, or resolves that of a channel: accept takes the database at "
        "its address as the right one, renew makes it a database of its own. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = 'incidents close 3 --reason "The till was repaired."'
    failures = (AcceptanceRefused, ChannelError)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = add_action(actions, "list", self.list_incidents)
        list_parser.add_argument("--all", action="store_true", help="Closed incidents, too.")
        for action, description in RESOLVING_ACTIONS.items():
            action_parser = add_action(actions, action, self.resolve_incident, description)
            add_id(action_parser, "incident")
            add_reason(action_parser)

    def list_incidents(self, options: dict[str, Any]) -> None:
        """Lists open incidents, the oldest first."""
        incidents = Incident.objects.select_related("database__channel").order_by("pk")
        if not options["all"]:
            incidents = incidents.open()
        self.print_rows("incident", map(incident_as_dict, incidents), LINE_FORMAT)

    def resolve_incident(self, options: dict[str, Any]) -> None:
        incident = get_open_incident(options["id"])
        if options["action"] == "close":
            close_incident(incident, options["reason"])
        else:
            settle_database(incident, options["action"], options["reason"])
        incident.refresh_from_db()
        self.print_json_or_text(incident_as_dict(incident), f"Incident {incident.pk} is closed.")


def get_open_incident(pk: int) -> Incident:
    """Return the open incident with this id. Errors: CommandError; status 2 if it is unknown."""
    incident = get_row("incident", pk, Incident.objects.select_related("database__channel"))
    if incident.closed_at:
        raise CommandError(f"Incident {pk} is already closed.")
    return incident


def close_incident(incident: Incident, reason: str) -> None:
    """Close the incident. Errors: CommandError if only recover_hq can resolve it."""
    if not incident.can_be_closed_by_hand:
        raise CommandError("Resolve this incident with the command recover_hq.")
    incident.close(reason)


def settle_database(incident: Incident, action: str, reason: str) -> None:
    """Accept or renew the channel's database, then close the incident.

    Errors: AcceptanceRefused; ChannelError; CommandError if the incident is not about a channel.
    """
    if incident.database is None:
        raise CommandError("This incident is not about a channel: close it.")
    if action == "accept":
        accept_database(incident.database, reason)
    else:
        renew_database(incident.database, reason)
    incident.close(reason)


def incident_as_dict(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.pk,
        "kind": incident.kind,
        "channel": incident.database.label if incident.database else None,
        "status": incident.status,
        "since": incident.opened_at,
        "last_seen": incident.last_seen_at,
        "times": incident.times,
        "message": str(incident.message),
        "next_step": incident.next_step,
        "detail": incident.detail,
        "closing_reason": incident.closing_reason or None,
    }
