"""Tell the whole story of one customer."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand, print_json
from stores.models import Company
from stores.models.characters import tidy_key
from stores.pipeline.channel_search import ChannelResult, search_channels
from stores.trace.channels import candidates, search_criteria, with_channel_results
from stores.trace.match import matches
from stores.trace.timeline import build_trace
from stores.trace.types import Match, Trace, trace_as_json

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


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
            sightings = search_channels(search_criteria(ref, matches(ref)))
        matching = candidates(ref, sightings)
        if not matching:
            raise CommandError(" ".join([not_found_message(ref), *channel_errors(sightings)]))
        if len(matching) > 1 and not options["json"]:
            for match in matching:
                self.stdout.write(match_line(match))
            raise CommandError(f"{len(matching)} customers fit: choose one by its first word.")
        trace = with_channel_results(build_trace(matching[0]), sightings)
        if options["json"]:
            print_json(self, trace_as_json(trace))
        else:
            for sentence in trace_lines(trace):
                self.stdout.write(sentence)


def not_found_message(ref: str) -> str:
    """That nobody was found; and whether the company before the account is unknown."""
    company, colon, _ = tidy_key(ref).partition(":")
    if not colon or company.upper() in Company.objects.values_list("code", flat=True):
        return "Nobody is known by this reference."
    return "Nobody is known by this reference: what stands before the colon is no company."


def channel_errors(results: list[ChannelResult]) -> list[str]:
    return [result.error for result in results if result.error]


def match_line(match: Match) -> str:
    """One of several customers, without what identifies a person."""
    account = match.account_number or "no account yet"
    return f"{match.ref}  {match.company}  {account}  since {match.at:{TIME_FORMAT}}"


def trace_lines(trace: Trace) -> Iterator[str]:
    for guid in trace.async_accounts:
        yield f"GUID     {guid}"
    yield f"Account  {trace.account_number or 'none yet'} ({trace.company})"
    yield f"State    {trace.state}"
    if trace.waiting_for:
        yield f"Waiting  {trace.waiting_for.text} {trace.waiting_for.next_step}"
    yield ""
    for event in trace.events:
        yield f"{event.at:{TIME_FORMAT}}  {event.kind:<14} {event.channel:<16} {event.text}"
    yield ""
    for place in trace.channels:
        knows = "knows the account" if place.knows_account else "lacks the account"
        yield f"{place.database:<16} {knows}" + (
            f" since {place.at:{TIME_FORMAT}}" if place.at else ""
        )
