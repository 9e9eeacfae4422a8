"""List, inspect, release, correct, dismiss and reopen quarantined rows.

A row in the output, quarantined or failed in conversion, is a Case in the code.
"""

from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from stores.management import arguments
from stores.management.base import FAILED, SynclineCommand, add_action, add_actions, single_line
from stores.messages.reasons import REASONS, explain
from stores.models import Case
from stores.models.case import UNSETTLED_STATUSES, CaseStatus, Cause
from stores.pipeline.corrections.case import CaseDetail, describe_case
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.corrections.quarantine import (
    ChangedMeanwhile,
    Resolution,
    dismiss_rows,
    release_rows,
    reopen_rows,
    same_cause,
)
from stores.web.forms.document import correction_form

CASE_FORMAT = "{id:<36}  {channel:<12} {table:<17} {status:<10} {since:%Y-%m-%d %H:%M}  {text}"
CAUSE_FORMAT = "{rows:>7}  {cause}  {text}"
MAX_REPORTED = 20


class Command(SynclineCommand):
    help = (
        "Lists and resolves rows that headquarters could not use: quarantined on arrival, failed "
        "in conversion, or waiting for more than a day. list, causes and show only read; release "
        "validates rows again; correct replaces a row; dismiss closes rows with a reason, and "
        "reopen opens them again. "
        "Exit status: 0 done, 1 some rows are still open, 2 wrong arguments."
    )
    example = "quarantine release --cause houston:async_address:too_long:city"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)

        list_parser = add_action(actions, "list", self.list_cases)
        list_parser.add_argument("--channel", metavar="CODE", help="Only rows of this channel.")
        list_parser.add_argument(
            "--reason",
            dest="reason_code",
            metavar="CODE",
            help="Only rows with this reason code.",
        )
        list_parser.add_argument(
            "--cause", type=parse_cause, metavar="CAUSE", help="Only rows of this cause."
        )
        list_parser.add_argument("--all", action="store_true", help="Resolved rows, too.")

        add_action(actions, "causes", self.list_causes)

        show_parser = add_action(actions, "show", self.show_case)
        add_case(show_parser)

        release_parser = add_action(actions, "release", self.release_cases)
        add_cases(release_parser)
        arguments.add_user(release_parser, required=False)

        correct_parser = add_action(actions, "correct", self.correct_case)
        add_case(correct_parser)
        arguments.add_set(correct_parser, required=True)
        arguments.add_user(correct_parser, required=False)

        dismiss_parser = add_action(actions, "dismiss", self.dismiss_cases)
        add_cases(dismiss_parser)
        arguments.add_reason(dismiss_parser)
        arguments.add_user(dismiss_parser, required=False)

        # Nobody is recorded for this: a row keeps who dismissed it, and why.
        reopen_parser = add_action(actions, "reopen", self.reopen_cases)
        add_cases(reopen_parser)

    def list_cases(self, options: dict[str, Any]) -> None:
        """Lists open rows, the oldest first."""
        cases = Case.objects.select_related("database__channel").order_by("since", "id")
        if options["channel"] is not None:
            cases = cases.filter(database__channel=arguments.get_channel(options["channel"]))
        reason = options["reason_code"]
        if reason is not None:
            if reason not in REASONS:
                raise arguments.wrong_argument(f"There is no reason {reason!r}.")
            cases = cases.filter(reason=reason)
        if options["cause"] is not None:
            cases = cases.with_cause(options["cause"])
        if not options["all"]:
            cases = cases.unsettled()
        self.print_rows("row", map(case_as_dict, cases), CASE_FORMAT)

    def list_causes(self, options: dict[str, Any]) -> None:
        """Counts open rows by cause, the most frequent first."""
        counts_by_cause = Case.objects.unsettled().by_cause()
        self.print_rows("cause", map(cause_as_dict, counts_by_cause), CAUSE_FORMAT)

    def show_case(self, options: dict[str, Any]) -> None:
        """Shows one row with its values."""
        case = get_case(options["id"])
        detail = describe_case(case)
        document = case_details_as_dict(case)
        lines = [
            f"{name:<16} {'-' if value is None else value}" for name, value in document.items()
        ]
        self.print_json_or_text(
            document | {"values": values_as_dict(detail)}, *lines, "", *value_lines(detail)
        )

    def release_cases(self, options: dict[str, Any]) -> None:
        """Validates rows again."""
        user = get_optional_user(options["user"])
        resolution = Resolution()
        for case_ids in selected_cases(options):
            resolution += release_rows(case_ids, by=user)
        self.report(resolution, "released")

    def dismiss_cases(self, options: dict[str, Any]) -> None:
        """Closes rows with a reason."""
        user = get_optional_user(options["user"])
        resolution = Resolution()
        for case_ids in selected_cases(options):
            resolution += dismiss_rows(case_ids, by=user, because=options["reason"])
        self.report(resolution, "dismissed")

    def report(self, resolution: Resolution, outcome: str) -> None:
        """Print how many rows were released or dismissed, and end with FAILED if others are open.

        `outcome` is the word for it, also the key of their number in JSON.
        """
        still_open = resolution.still_open
        lines = [
            CASE_FORMAT.format_map(case_as_dict(case))
            for case in get_cases(still_open[:MAX_REPORTED])
        ]
        self.print_json_or_text(
            {outcome: resolution.done, "left": still_open},
            *lines,
            f"{resolution.done} {outcome}, {len(still_open)} still open.",
            status=FAILED if still_open else 0,
        )

    def reopen_cases(self, options: dict[str, Any]) -> None:
        """Opens dismissed rows again."""
        count = sum(map(reopen_rows, selected_cases(options, statuses=[CaseStatus.DISMISSED])))
        self.print_json_or_text({"reopened": count}, f"{count} reopened.")

    def correct_case(self, options: dict[str, Any]) -> None:
        """Replaces one row by a corrected one."""
        case = get_case(options["id"])
        detail = describe_case(case)
        if not detail.can_be_corrected:
            raise CommandError("This row is already resolved, or cannot be corrected.")
        # The form with the row's own values names the fields that --set may give.
        original_form = correction_form(detail)
        data = arguments.form_data([original_form], options["assignments"])
        form = correction_form(detail, data)
        arguments.raise_form_errors([form])
        try:
            event_id = form.save(case.id, by=get_optional_user(options["user"]))
        except EventRefused as error:
            form.add_rule_errors(error.broken)
            arguments.raise_form_errors([form])
        except ChangedMeanwhile as error:
            raise CommandError("This row has been resolved in the meantime.") from error
        self.print_json_or_text(
            {"corrected": case.id, "event": str(event_id)},
            "Corrected. The next run processes the replacement.",
        )


def parse_cause(text: str) -> Cause:
    cause = Cause.parse(text)
    if cause is None:
        raise ArgumentTypeError("a cause is CHANNEL:TABLE:REASON:FIELD, as printed by causes")
    return cause


def add_case(parser: CommandParser) -> None:
    parser.add_argument("id", metavar="ID", help="The row, as printed by list.")


def add_cases(parser: CommandParser) -> None:
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument(
        "ids", nargs="*", default=[], metavar="ID", help="The rows, as printed by list."
    )
    rows.add_argument(
        "--cause", type=parse_cause, metavar="CAUSE", help="A cause, as printed by causes."
    )


def selected_cases(
    options: dict[str, Any], *, statuses: Sequence[str] = UNSETTLED_STATUSES
) -> Iterable[list[str]]:
    """Return the ids of the selected rows in chunks; of a cause, the rows with these statuses."""
    if options["cause"] is not None:
        return same_cause(options["cause"], statuses=statuses)
    return [[case.id for case in get_cases(options["ids"])]]


def get_optional_user(name: str | None) -> User | None:
    """Return the author of a change; without a name the author is the command."""
    return None if name is None else arguments.get_user(name)


def get_case(case_id: str) -> Case:
    return get_cases([case_id])[0]


def get_cases(case_ids: Sequence[str]) -> list[Case]:
    """Return the rows with these ids. Errors: CommandError with status 2."""
    cases = Case.objects.select_related("database__channel").in_bulk(case_ids)
    for case_id in case_ids:
        if case_id not in cases:
            raise arguments.wrong_argument(f"There is no row {case_id!r}.")
    return [cases[case_id] for case_id in case_ids]


def cause_as_dict(counts: dict[str, Any]) -> dict[str, Any]:
    """One of the dictionaries of `by_cause`, as the output shows it."""
    return {
        "cause": str(Cause.of(counts)),
        "rows": counts["rows"],
        "text": explain(counts["reason"], counts["field"]),
        "oldest": counts["oldest"],
    }


def case_as_dict(case: Case) -> dict[str, Any]:
    return {
        "id": case.id,
        "channel": case.database.label if case.database else "headquarters",
        "table": case.table,
        "field": case.field or None,
        "reason": case.reason,
        "text": explain(case.reason, case.field),
        "since": case.since,
        "status": case.status,
    }


def case_details_as_dict(case: Case) -> dict[str, Any]:
    """The row as JSON output shows it alone, with its rule and its customer."""
    return case_as_dict(case) | {
        "rule": case.rule or None,
        "cause": str(case.cause),
        "attempts": case.attempts,
        "row": case.row_key,
        "event": case.event_id,
        "async_account": case.async_account,
        "account_number": case.account_number or None,
    }


def values_as_dict(detail: CaseDetail) -> dict[str, Any]:
    """The values of the row; lines and payments of a document are lists."""
    values: dict[str, Any] = {column.name: column.value for column in detail.columns}
    for part in detail.parts:
        values[part.table] = [dict(zip(part.columns, row, strict=True)) for row in part.rows]
    return values


def value_lines(detail: CaseDetail) -> Iterator[str]:
    """The values of the row, one in a line; the wrong one is marked."""
    for column in detail.columns:
        line = f"  {column.name:<20} {single_line(column.short):<40}"
        if column.flaw:
            line += f" <-- {column.flaw}"
        yield line.rstrip()
    for part in detail.parts:
        for row in part.first:
            values = [
                f"{name} {single_line(value)}"
                for name, value in zip(part.columns, row, strict=True)
                if value
            ]
            yield f"  {part.table}: {', '.join(values)}"
        if part.more:
            yield f"  {part.table}: and {part.more:,} more"
