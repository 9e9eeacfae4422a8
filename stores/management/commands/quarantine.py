"""Rows that wait for a person: list them, look at one, correct it, settle one or all alike."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import (
    add_set,
    add_user,
    chosen_channels,
    chosen_reason,
    chosen_user,
    field_pairs,
    filled_values,
    refuse_flaws,
)
from stores.management.base import SynclineCommand, print_json, single_line
from stores.models import Case
from stores.models.case import CaseStatus, Cause
from stores.models.reason import REASONS, explain
from stores.pipeline.corrections.case import describe_case
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
        "Rows that HQ could not use: set aside on arrival (named by number), failed in conversion, "
        "or waiting for more than a day (by event id). list, causes and show look; release judges "
        "rows by today's rules again; correct puts an event or a document of headquarters in the "
        "place of one; dismiss closes them with a reason, reopen opens them again. "
        "Exit status: 0 done, 1 some rows are still open, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = ["list", "causes", "show", "release", "correct", "dismiss", "reopen"]
        parser.add_argument("action", choices=actions)
        parser.add_argument(
            "ids",
            nargs="*",
            default=[],
            metavar="ID",
            help="show, release, correct, dismiss, reopen: rows, as list names them",
        )
        parser.add_argument("--channel", metavar="CODE", help="list: only rows of this channel")
        parser.add_argument(
            "--reason",
            metavar="R",
            help="list: only rows with this reason code; dismiss: why, in your words",
        )
        parser.add_argument(
            "--cause",
            metavar="CAUSE",
            help="all but show and correct: the rows of one cause, as the action causes names it",
        )
        add_set(parser)
        add_user(parser, "release, correct, dismiss")
        parser.add_argument("--all", action="store_true", help="list: also rows that are settled")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        cause = self.chosen_cause(options["cause"])
        action = options["action"]
        if action in ("list", "causes") and options["ids"]:
            raise CommandError(f"{action} takes no ID.", returncode=2)
        if action == "list":
            self.list(cause, options)
        elif action == "causes":
            self.causes(as_json=options["json"])
        elif action == "show":
            self.show(options["ids"], as_json=options["json"])
        elif action == "correct":
            self.correct(options["ids"], options)
        elif action == "reopen":
            self.reopen(options["ids"], cause, as_json=options["json"])
        else:
            self.settle(action, options["ids"], cause, options)

    def chosen_cause(self, text: str | None) -> Cause | None:
        """The cause that was named. Errors: CommandError with status 2."""
        cause = Cause.parse(text) if text is not None else None
        if text is not None and cause is None:
            form = "CHANNEL:TABLE:REASON:FIELD, as causes lists."
            raise CommandError(f"--cause: {form}", returncode=2)
        return cause

    def list(self, cause: Cause | None, options: dict[str, Any]) -> None:
        """One line for each row, oldest first; never a value of one."""
        if options["reason"] is not None and options["reason"] not in REASONS:
            raise CommandError(f"No reason is called {options['reason']}.", returncode=2)
        chosen_channels([options["channel"]] if options["channel"] is not None else [])
        filters = {"database__channel__code": options["channel"], "reason": options["reason"]}
        filters = {name: value for name, value in filters.items() if value is not None}
        cases = Case.objects.filter(**filters).select_related("database__channel")
        cases = cases if options["all"] else cases.unsettled()
        cases = cases.with_cause(cause) if cause else cases
        rows = [case_summary(case) for case in cases.order_by("since", "id")]
        if options["json"]:
            print_json(self, {"rows": rows})
            return
        for row in rows:
            self.stdout.write(ROW_FORMAT.format_map(row))
        self.stdout.write(f"{len(rows)} rows." if len(rows) != 1 else "1 row.")

    def causes(self, *, as_json: bool) -> None:
        """One line for each cause, the most frequent first."""
        causes = [
            {
                "cause": str(cause_of_row(row)),
                "rows": row["rows"],
                "text": explain(row["reason"], row["field"]),
                "oldest": row["oldest"],
            }
            for row in Case.objects.unsettled().by_cause()
        ]
        if as_json:
            print_json(self, {"causes": causes})
            return
        for row in causes:
            self.stdout.write(CAUSE_FORMAT.format_map(row))
        self.stdout.write(f"{len(causes)} causes." if len(causes) != 1 else "1 cause.")

    def show(self, ids: Sequence[str], *, as_json: bool) -> None:
        """All that is known of one row, its values included."""
        if len(ids) != 1:
            raise CommandError("show takes one ID.", returncode=2)
        (case,) = chosen_cases(ids)
        detail = describe_case(case)
        if as_json:
            shown: dict[str, Any] = {column.name: column.value for column in detail.columns}
            for part in detail.parts:
                shown[part.table] = [dict(zip(part.columns, row, strict=True)) for row in part.rows]
            print_json(self, case_document(case) | {"values": shown})
            return
        for word, value in case_document(case).items():
            self.stdout.write(f"{word:<16} {value if value is not None else '-'}")
        self.stdout.write("")
        for column in detail.columns:
            mark = "<-- " + column.flaw if column.flaw else ""
            self.stdout.write(
                f"  {column.name:<20} {single_line(column.short):<40} {mark}".rstrip()
            )
        for part in detail.parts:
            for row in part.first:
                named = zip(part.columns, row, strict=True)
                text = (f"{name} {single_line(value)}" for name, value in named if value)
                self.stdout.write(f"  {part.table}: {', '.join(text)}")
            if part.more:
                self.stdout.write(f"  {part.table}: and {part.more:,} more")

    def correct(self, ids: Sequence[str], options: dict[str, Any]) -> None:
        """Put what the row should have said in its place."""
        if len(ids) != 1:
            raise CommandError("correct takes one ID.", returncode=2)
        (case,) = chosen_cases(ids)
        detail = describe_case(case)
        if not detail.can_be_corrected:
            raise CommandError("The row is settled already, or nothing can take its place.")
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
        if options["json"]:
            print_json(self, {"corrected": case.id, "event": str(made)})
        else:
            self.stdout.write("Corrected. The next run processes the replacement.")

    def reopen(self, ids: Sequence[str], cause: Cause | None, *, as_json: bool) -> None:
        if bool(ids) == bool(cause):
            raise CommandError("reopen takes IDs, or --cause.", returncode=2)
        dismissed = [CaseStatus.DISMISSED]
        cases = (
            same_cause(cause, statuses=dismissed)
            if cause
            else [[case.id for case in chosen_cases(ids)]]
        )
        count = sum(map(reopen_rows, cases))
        if as_json:
            print_json(self, {"reopened": count})
        else:
            self.stdout.write(f"{count} reopened.")

    def settle(
        self, action: str, ids: Sequence[str], cause: Cause | None, options: dict[str, Any]
    ) -> None:
        """Release or dismiss the rows named, or all of a cause."""
        if bool(ids) == bool(cause):
            raise CommandError(f"{action} takes IDs, or --cause.", returncode=2)
        reason = ""
        if action == "dismiss":
            reason = chosen_reason(options["reason"], "dismiss takes --reason, in your words.")
        settled = Resolution()
        for case_ids in same_cause(cause) if cause else [[case.id for case in chosen_cases(ids)]]:
            if action == "dismiss":
                part = dismiss_rows(case_ids, by=acting_user(options), because=reason)
            else:
                part = release_rows(case_ids, by=acting_user(options))
            settled = Resolution(settled.done + part.done, settled.still_open + part.still_open)
        word = "dismissed" if action == "dismiss" else "released"
        if options["json"]:
            print_json(self, {word: settled.done, "left": settled.still_open})
        else:
            for row in map(case_summary, chosen_cases(settled.still_open[:MAX_REPORTED])):
                self.stdout.write(ROW_FORMAT.format_map(row))
            self.stdout.write(f"{settled.done} {word}, {len(settled.still_open)} still open.")
        if settled.still_open:
            raise SystemExit(1)


def acting_user(options: dict[str, Any]) -> Any:
    """The user in whose name it is done, or None: a command did it."""
    return chosen_user(options["user"]) if options["user"] is not None else None


def cause_of_row(row: dict[str, Any]) -> Cause:
    code, name = row["database__channel__code"], row["database__name"]
    return Cause(f"{code}/{name}" if name else code, row["table"], row["reason"], row["field"])


def chosen_cases(ids: Iterable[str]) -> list[Case]:
    """The rows with these ids. Errors: CommandError with status 2 for one that is not there."""
    cases = Case.objects.select_related("database__channel").in_bulk(list(ids))
    for case_id in ids:
        if case_id not in cases:
            raise CommandError(f"No row has the id {case_id}.", returncode=2)
    return [cases[case_id] for case_id in ids]


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
