"""Show the history of one customer."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import WrongArgument
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
        "Shows the history of a customer. If several customers match, they are listed; with --json "
        "the newest is shown. Exit status: 0 found, 1 none or several found, 2 wrong arguments."
    )
    example = "trace C-000042 --look-in-channels"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ref",
            metavar="REF",
            help="A GUID, an account number (COMPANY:ACCOUNT if two companies have it), an e-mail "
            "address, a phone number, or the number of a sale, receipt, order or invoice.",
        )
        parser.add_argument(
            "--look-in-channels",
            action="store_true",
            help="Also opens the channels, to find what they have not sent yet.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        ref = options["ref"]
        if not tidy_key(ref):
            raise WrongArgument("Enter a GUID, an account, an e-mail address or a phone number.")
        results: list[ChannelResult] = []
        if options["look_in_channels"]:
            results = search_channels(search_criteria(ref, matches(ref)))
        matching = candidates(ref, results)
        if not matching:
            raise CommandError(" ".join([not_found_message(ref), *channel_errors(results)]))
        if len(matching) > 1 and not self.as_json:
            self.answer({}, *map(match_line, matching))
            raise CommandError(f"{len(matching)} customers match: choose one by its first column.")
        trace = with_channel_results(build_trace(matching[0]), results)
        self.answer(trace_as_json(trace), *trace_lines(trace))


def not_found_message(ref: str) -> str:
    """That nobody was found; and whether the company before the account is unknown."""
    company, colon, _ = tidy_key(ref).partition(":")
    if not colon or company.upper() in Company.objects.values_list("code", flat=True):
        return "No customer matches this reference."
    return f"No customer matches this reference: there is no company {company!r}."


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
