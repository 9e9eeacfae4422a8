"""Show the history of one customer."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import get_channel, wrong_argument
from stores.management.base import SynclineCommand
from stores.models import Company
from stores.pipeline.channel_search import ChannelResult, search_channels
from stores.trace.channels import candidates, search_criteria, with_channel_results
from stores.trace.match import matches
from stores.trace.timeline import build_trace, reach_of
from stores.trace.types import Match, Trace, TraceChannel, channel_as_json, trace_as_json
from stores.values.characters import normalize_key

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
OTHER_SEARCHES = (
    "Add --look-in-channels to search what channels have not sent yet. The portal finds customers "
    "by name."
)


class Command(SynclineCommand):
    help = (
        "Shows the history of a customer. If several customers match, they are listed; with --json "
        "the newest is shown. With --why, says what is missing until a channel has the customer. "
        "Exit status: 0 found, 1 none or several found, 2 wrong arguments."
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

        parser.add_argument(
            "--why",
            metavar="CHANNEL",
            help="Says why this channel does not have the customer, and what helps.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        ref = options["ref"]
        if not normalize_key(ref):
            raise wrong_argument(
                "Enter a GUID, an account number, an e-mail address, a phone number, or the number "
                "of a sale, receipt, order or invoice."
            )
        channel = get_channel(options["why"]) if options["why"] else None
        results: list[ChannelResult] = []
        if options["look_in_channels"]:
            known = matches(ref)
            results = search_channels(search_criteria(ref, known))
        # The newest first.
        customers = candidates(ref, results)
        if not customers:
            errors = [result.error for result in results if result.error]
            hints = [] if options["look_in_channels"] else [OTHER_SEARCHES]
            raise CommandError(" ".join([not_found_message(ref), *hints, *errors]))
        if len(customers) > 1 and not self.as_json:
            for customer in customers:
                self.stdout.write(match_line(customer))
            raise CommandError(f"{len(customers)} customers match: choose one by its first column.")
        trace = with_channel_results(build_trace(customers[0]), results)
        if channel is None:
            self.print_json_or_text(trace_as_json(trace), *trace_lines(trace))
            return
        why = list(reach_of(trace, channel))
        document = trace_as_json(trace) | {"why": [channel_as_json(row) for row in why]}
        self.print_json_or_text(document, *(line for row in why for line in missing_lines(row)))


def not_found_message(ref: str) -> str:
    """Say that no customer matches, or that the part before the colon is no company."""
    company, colon, _ = normalize_key(ref).partition(":")
    if colon and company.upper() not in Company.objects.values_list("code", flat=True):
        return f"No customer matches this reference: there is no company {company!r}."
    return "No customer matches this reference."


def match_line(match: Match) -> str:
    """One of several customers, without personal data."""
    account = match.account_number or "no account yet"
    return f"{match.ref}  {match.company}  {account}  since {match.at:{TIME_FORMAT}}"


def missing_lines(row: TraceChannel) -> Iterator[str]:
    """Why a database does not have the customer, the next step, and the command that takes it."""
    missing = row.missing
    if missing is None:
        since = f" since {row.at:{TIME_FORMAT}}" if row.at else ""
        yield f"{row.database} has the customer{since}."
        return
    older = "An older version is there. " if row.knows_account else ""
    yield f"{row.database}: {missing.code.label}. {older}{missing.text} {missing.next_step}".strip()
    if missing.command:
        yield f"  python3 manage.py {missing.command}"


def trace_lines(trace: Trace) -> Iterator[str]:
    """The customer, the history, the channels, and the sales and orders, with lines between."""
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
    if trace.documents:
        yield ""
    for document in trace.documents:
        kind = document["kind"].replace("_", " ")
        state = document["state"].replace("_", " ")
        yield f"{document['id']:<28} {kind:<14} {document['channel']:<16} {state}"
