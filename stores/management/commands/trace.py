"""Show the timeline of one customer."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.base import SynclineCommand
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
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        ref = options["ref"]
        if not tidy_key(ref):
            raise CommandError("Name a GUID, account, e-mail address or phone.", returncode=2)
        channel_results: list[ChannelResult] = []
        if options["look_in_channels"]:
            channel_results = search_channels(search_criteria(ref, matches(ref)))
        customers = candidates(ref, channel_results)
        if not customers:
            errors = [result.error for result in channel_results if result.error]
            raise CommandError(" ".join([not_found_message(ref), *errors]))
        if len(customers) > 1 and not options["json"]:
            for customer in customers:
                self.stdout.write(match_line(customer))
            raise CommandError(f"{len(customers)} customers fit: choose one by its first word.")
        trace = with_channel_results(build_trace(customers[0]), channel_results)
        if options["json"]:
            self.print_json(trace_as_json(trace))
            return
        for line in trace_lines(trace):
            self.stdout.write(line)


def not_found_message(ref: str) -> str:
    """Say that nobody was found, or that the part before the colon is no company."""
    company, colon, _ = tidy_key(ref).partition(":")
    if colon and company.upper() not in Company.objects.values_list("code", flat=True):
        return "Nobody is known by this reference: what stands before the colon is no company."
    return "Nobody is known by this reference."


def match_line(match: Match) -> str:
    """One of several customers, without personal data."""
    account = match.account_number or "no account yet"
    return f"{match.ref}  {match.company}  {account}  since {match.at:{TIME_FORMAT}}"


def trace_lines(trace: Trace) -> Iterator[str]:
    """The customer's state, events and channels, one in a line."""
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
    for channel in trace.channels:
        knows = "knows the account" if channel.knows_account else "lacks the account"
        since = f" since {channel.at:{TIME_FORMAT}}" if channel.at else ""
        yield f"{channel.database:<16} {knows}{since}"
