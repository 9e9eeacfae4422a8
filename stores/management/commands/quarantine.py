"""Rows that wait for a person: list them, show one, correct it, resolve one or all of a cause."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import (
    WrongArgument,
    add_set,
    add_user,
    chosen_channels,
    chosen_reason,
    chosen_user,
    field_pairs,
    filled_values,
    refuse_flaws,
)
from stores.management.base import SynclineCommand, single_line
from stores.models import Case
from stores.models.case import CaseStatus, Cause
from stores.models.reason import REASONS, explain
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
from stores.web.forms.document import form_of

ROW_FORMAT = "{id:<36}  {channel:<12} {table:<17} {status:<10} {since:%Y-%m-%d %H:%M}  {text}"
# Rows that are named when they stay open.
MAX_REPORTED = 20
CAUSE_FORMAT = "{rows:>7}  {cause}  {text}"


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
        actions = ["list", "causes", "show", "release", "correct", "dismiss", "reopen"]
        parser.add_argument("action", choices=actions, help="What to do.")
        parser.add_argument(
            "ids",
            nargs="*",
            default=[],
            metavar="ID",
            help="show, release, correct, dismiss, reopen: the rows, as printed by list.",
        )
        parser.add_argument("--channel", metavar="CODE", help="list: only rows of this channel.")
        parser.add_argument(
            "--reason",
            metavar="TEXT",
            help="list: only rows with this reason code; dismiss: why, in your own words.",
        )
        parser.add_argument(
            "--cause",
            metavar="CAUSE",
            help="list, release, dismiss, reopen: all rows of a cause, as printed by causes.",
        )
        add_set(parser)
        add_user(parser, "release, correct, dismiss")
        parser.add_argument("--all", action="store_true", help="list: resolved rows, too.")

    def handle(self, *args: Any, **options: Any) -> None:
        cause, ids = chosen_cause(options["cause"]), options["ids"]
        action = options["action"]
        if action in ("list", "causes") and ids:
            raise WrongArgument(f"{action} takes no ID.")
        if action in ("show", "correct") and len(ids) != 1:
            raise WrongArgument(f"{action} takes exactly one ID.")
        if action in ("release", "dismiss", "reopen") and bool(ids) == bool(cause):
            raise WrongArgument(f"{action} takes either IDs or --cause.")
        if action == "list":
            self.list(cause, options)
        elif action == "causes":
            rows = list(map(cause_summary, Case.objects.unsettled().by_cause()))
            self.answer_rows("cause", rows, CAUSE_FORMAT)
        elif action == "show":
            self.show(chosen_cases(ids)[0])
        elif action == "correct":
            self.correct(chosen_cases(ids)[0], options)
        elif action == "reopen":
            dismissed = [CaseStatus.DISMISSED]
            cases = same_cause(cause, statuses=dismissed) if cause else [known_ids(ids)]
            count = sum(map(reopen_rows, cases))
            self.answer({"reopened": count}, f"{count} reopened.")
        else:
            self.settle(action, ids, cause, options)

    def list(self, cause: Cause | None, options: dict[str, Any]) -> None:
        """One line for each row, oldest first; never a value of one."""
        if options["reason"] is not None and options["reason"] not in REASONS:
            raise WrongArgument(f"There is no reason {options['reason']!r}.")
        chosen_channels([options["channel"]] if options["channel"] is not None else [])
        filters = {"database__channel__code": options["channel"], "reason": options["reason"]}
        filters = {name: value for name, value in filters.items() if value is not None}
        cases = Case.objects.filter(**filters).select_related("database__channel")
        cases = cases if options["all"] else cases.unsettled()
        cases = cases.with_cause(cause) if cause else cases
        rows = [case_summary(case) for case in cases.order_by("since", "id")]
        self.answer_rows("row", rows, ROW_FORMAT)

    def show(self, case: Case) -> None:
        """All that is known of one row, its values included."""
        detail, document = describe_case(case), case_document(case)
        shown: dict[str, Any] = {column.name: column.value for column in detail.columns}
        for part in detail.parts:
            shown[part.table] = [dict(zip(part.columns, row, strict=True)) for row in part.rows]
        lines = [
            f"{word:<16} {'-' if value is None else value}" for word, value in document.items()
        ]
        self.answer(document | {"values": shown}, *lines, "", *value_lines(detail))

    def correct(self, case: Case, options: dict[str, Any]) -> None:
        """Put what the row should have said in its place."""
        detail = describe_case(case)
        if not detail.can_be_corrected:
            raise CommandError("This row is already resolved, or cannot be corrected.")
        blank, settle_it = form_of(detail, None)
        form, _ = form_of(detail, filled_values([blank], field_pairs(options["given"])))
        refuse_flaws([form])
        try:
            made = settle_it(case.id, form.values, by=acting_user(options))
        except EventRefused as refused:
            form.blame(refused.broken)
            refuse_flaws([form])
        except ChangedMeanwhile:
            raise CommandError("This row has been resolved in the meantime.") from None
        self.answer(
            {"corrected": case.id, "event": str(made)},
            "Corrected. The next run processes the replacement.",
        )

    def settle(
        self, action: str, ids: Sequence[str], cause: Cause | None, options: dict[str, Any]
    ) -> None:
        reason = chosen_reason(options["reason"]) if action == "dismiss" else ""
        settled = Resolution()
        for case_ids in same_cause(cause) if cause else [known_ids(ids)]:
            if action == "dismiss":
                settled += dismiss_rows(case_ids, by=acting_user(options), because=reason)
            else:
                settled += release_rows(case_ids, by=acting_user(options))
        word = "dismissed" if action == "dismiss" else "released"
        still_open = map(case_summary, chosen_cases(settled.still_open[:MAX_REPORTED]))
        self.answer(
            {word: settled.done, "left": settled.still_open},
            *map(ROW_FORMAT.format_map, still_open),
            f"{settled.done} {word}, {len(settled.still_open)} still open.",
        )
        if settled.still_open:
            raise SystemExit(1)


def acting_user(options: dict[str, Any]) -> Any:
    """The user in whose name it is done, or None: a command did it."""
    return chosen_user(options["user"]) if options["user"] is not None else None


def chosen_cause(text: str | None) -> Cause | None:
    cause = Cause.parse(text) if text is not None else None
    if text is not None and cause is None:
        raise WrongArgument(
            "--cause must be CHANNEL:TABLE:REASON:FIELD, as printed by the action causes."
        )
    return cause


def chosen_cases(ids: Iterable[str]) -> list[Case]:
    cases = Case.objects.select_related("database__channel").in_bulk(list(ids))
    for case_id in ids:
        if case_id not in cases:
            raise WrongArgument(f"There is no row {case_id!r}.")
    return [cases[case_id] for case_id in ids]


def known_ids(ids: Iterable[str]) -> list[str]:
    return [case.id for case in chosen_cases(ids)]


def cause_summary(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "cause": str(Cause.of(row)),
        "rows": row["rows"],
        "text": explain(row["reason"], row["field"]),
        "oldest": row["oldest"],
    }


def value_lines(detail: CaseDetail) -> Iterable[str]:
    """The values of a row, with what is wrong with them."""
    for column in detail.columns:
        mark = "<-- " + column.flaw if column.flaw else ""
        yield f"  {column.name:<20} {single_line(column.short):<40} {mark}".rstrip()
    for part in detail.parts:
        for row in part.first:
            named = zip(part.columns, row, strict=True)
            text = (f"{name} {single_line(value)}" for name, value in named if value)
            yield f"  {part.table}: {', '.join(text)}"
        if part.more:
            yield f"  {part.table}: and {part.more:,} more"


def case_summary(case: Case) -> dict[str, Any]:
    """What a row says of itself; never a value of its."""
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


def case_document(case: Case) -> dict[str, Any]:
    """The same, with what the field may hold and who the row is about."""
    return case_summary(case) | {
        "rule": case.rule or None,
        "cause": str(case.cause),
        "attempts": case.attempts,
        "row": case.row_key,
        "event": case.event_id,
        "async_account": case.async_account,
        "account_number": case.account_number or None,
    }
