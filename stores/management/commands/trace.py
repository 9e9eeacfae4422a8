"""Tell the whole story of one customer."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand, print_json
from stores.models import Company
from stores.models.characters import tidy_key
from stores.pipeline.channel_search import ChannelResult, search_channels
from stores.trace.channels import candidates, wanted, with_sightings
from stores.trace.match import matches
from stores.trace.timeline import story
from stores.trace.types import Match, Trace, as_json

TIME = "%Y-%m-%d %H:%M:%S"


class Command(SynclineCommand):
    help = (
        "Tell the whole story of a customer: a GUID, an account number (COMPANY:ACCOUNT where two "
        "companies have it), an e-mail address, a phone number, the number, receipt or "
        "confirmation that a till gave a sale or order, or that of HQ's sales order or invoice. "
        "Where several customers fit, they are listed; with --json the newest is told. "
        "Exit status: 0 found, 1 nobody or several found, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", metavar="REF")
        parser.add_argument(
            "--look-in-channels",
            action="store_true",
            help="open the channels too and find what they have not sent yet",
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        ref = options["ref"]
        if not tidy_key(ref):
            raise CommandError("Name a GUID, account, e-mail address or phone.", returncode=2)
        sightings: list[ChannelResult] = []
        if options["look_in_channels"]:
            sightings = search_channels(wanted(ref, matches(ref)))
        found = candidates(ref, sightings)
        if not found:
            raise CommandError(" ".join([nobody(ref), *errors(sightings)]))
        if len(found) > 1 and not options["json"]:
            for match in found:
                self.stdout.write(line(match))
            raise CommandError(f"{len(found)} customers fit: choose one by its first word.")
        told = with_sightings(story(found[0]), sightings)
        if options["json"]:
            print_json(self, as_json(told))
        else:
            for sentence in sentences(told):
                self.stdout.write(sentence)


def nobody(ref: str) -> str:
    """That nobody was found; and whether the company before the account is unknown."""
    company, colon, _ = tidy_key(ref).partition(":")
    if not colon or company.upper() in Company.objects.values_list("code", flat=True):
        return "Nobody is known by this reference."
    return "Nobody is known by this reference: what stands before the colon is no company."


def errors(sightings: list[ChannelResult]) -> list[str]:
    """Why some channels could not be looked into."""
    return [sighting.error for sighting in sightings if sighting.error]


def line(match: Match) -> str:
    """One of several customers, without what identifies a person."""
    account = match.account_number or "no account yet"
    return f"{match.ref}  {match.company}  {account}  since {match.at:{TIME}}"


def sentences(told: Trace) -> Iterator[str]:
    """The story in lines."""
    for guid in told.async_accounts:
        yield f"GUID     {guid}"
    yield f"Account  {told.account_number or 'none yet'} ({told.company})"
    yield f"State    {told.state}"
    if told.waiting_for:
        yield f"Waiting  {told.waiting_for.text} {told.waiting_for.next_step}"
    yield ""
    for event in told.events:
        yield f"{event.at:{TIME}}  {event.kind:<14} {event.channel:<16} {event.text}"
    yield ""
    for place in told.channels:
        knows = "knows the account" if place.knows_account else "lacks the account"
        yield f"{place.database:<16} {knows}" + (f" since {place.at:{TIME}}" if place.at else "")
