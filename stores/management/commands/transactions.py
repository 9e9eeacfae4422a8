"""Sales and orders: correct one or all of a cause, undo that, give one back to the jobs."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
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
    form_fields,
    is_text,
    only_row,
    parse_date,
    refuse_flaws,
    require_fields,
)
from stores.management.base import SynclineCommand
from stores.models import Channel, FailedSale, RetailTransaction, TransactionChange
from stores.models.failed_sale import SaleCause
from stores.models.labels import counted, label
from stores.models.reason import explain
from stores.models.search import parse_guid
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
    release_lease,
    validation_message,
)
from stores.pipeline.corrections.sales import (
    CorrectionResult,
    CorrectionScope,
    correct_all,
    correctable_fields,
    retry_refused,
    undo_bulk_correction,
)
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.web.forms.sale import (
    TO_EXPECTED,
    TO_NOTHING,
    TO_VALUE,
    BulkCorrectionForm,
    CorrectionForm,
)

CAUSE_FORMAT = "{sales:>7}  {cause}  {text}"
ACTIONS = ("causes", "show", "correct", "let-go", "correct-alike", "undo")


class Command(SynclineCommand):
    help = (
        "Shows and corrects transactions that are not posted. causes counts what failed, by cause; "
        "show lists the fields of a transaction; correct changes some of them; let-go gives a "
        "transaction back to the jobs; correct-alike corrects all transactions of a cause, and "
        "undo reverts that. "
        "Exit status: 0 done, 1 not possible, or some are left unchanged, 2 wrong arguments."
    )
    example = (
        "transactions correct-alike gross_differs:gross_amount:header --expected gross_amount "
        '--reason "Rounding." --user robin'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=ACTIONS, help="What to do.")
        parser.add_argument(
            "what",
            nargs="?",
            metavar="WHAT",
            help="show, correct, let-go: the till's number of the transaction; correct-alike: the "
            "cause, as printed by causes; undo: the correction, as printed by correct-alike.",
        )
        add_set(parser)
        parser.add_argument(
            "--expected",
            action="append",
            default=[],
            metavar="FIELD",
            help="correct-alike: sets a field to what the rule expects of each transaction.",
        )
        parser.add_argument(
            "--preview", action="store_true", help="correct-alike: shows the result, saves nothing."
        )
        parser.add_argument(
            "--give-back",
            action="store_true",
            help="correct-alike: retries what the database rejected, unchanged.",
        )
        parser.add_argument("--channel", metavar="CODE", help="Only transactions of this channel.")
        parser.add_argument(
            "--date",
            type=parse_date,
            metavar="YYYY-MM-DD",
            help="correct-alike: only this business date.",
        )
        parser.add_argument(
            "--reason", metavar="TEXT", help="correct, correct-alike: why; it is recorded."
        )
        add_user(parser, "correct, let-go, correct-alike, undo")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        chosen_channels([options["channel"]] if options["channel"] is not None else [])
        if action == "causes":
            rows = FailedSale.objects.by_cause()
            rows = rows.filter(channel__code=options["channel"]) if options["channel"] else rows
            self.answer_rows("cause", list(map(cause_summary, rows)), CAUSE_FORMAT)
        elif action == "correct-alike":
            self.correct_alike(options)
        elif action == "undo":
            self.undo(options)
        else:
            sales = RetailTransaction.objects.filter(transaction_id=options["what"])
            if options["channel"] is not None:
                sales = sales.filter(channel__code=options["channel"])
            sale = only_row("transaction", options["what"], sales, "channel")
            {"show": self.show, "correct": self.correct, "let-go": self.let_go}[action](
                sale, options
            )

    def show(self, sale: RetailTransaction, options: dict[str, Any]) -> None:
        fields = form_fields([CorrectionForm(sale)])
        fields.pop("why")
        self.answer_fields(described(sale), fields)

    def correct(self, sale: RetailTransaction, options: dict[str, Any]) -> None:
        """Lease the transaction, write the values, and release it."""
        given = field_pairs(options["given"]) | {"why": chosen_reason(options["reason"])}
        user = chosen_user(options["user"])
        form = CorrectionForm(sale, filled_values([CorrectionForm(sale)], given))
        refuse_flaws([form])
        lease(sale, user)
        try:
            changed = correct_transaction(sale, user, form.reason, form.changes())
        except CorrectionRefused as refused:
            raise CommandError(str(refused)) from None
        sale.refresh_from_db()
        self.answer(
            described(sale) | {"changed": changed},
            f"{counted(changed, 'value')} corrected. {validation_message(sale)}",
        )

    def let_go(self, sale: RetailTransaction, options: dict[str, Any]) -> None:
        """Give it back to the jobs, if it is the user who corrects it, or it was refused."""
        user = chosen_user(options["user"])
        if sale.errors.filter(rule__in=REFUSAL_REASONS).exists():
            lease(sale, user)
        elif sale.editing_by_id != user.pk:
            raise CommandError(f"{user} is not correcting it.")
        release_lease(sale, user)
        sale.refresh_from_db()
        self.answer(described(sale), f"{sale.transaction_id} is given back to the jobs.")

    def correct_alike(self, options: dict[str, Any]) -> None:
        """Correct all of a cause, say what would become of them, or give them back."""
        cause = SaleCause.parse(options["what"] or "")
        if cause is None or not is_text(options["what"]):
            raise WrongArgument(
                "Enter a cause in the form REASON:FIELD:PART, as printed by the action causes."
            )
        user = chosen_user(options["user"])
        channel = Channel.objects.filter(code=options["channel"]).first()
        scope = CorrectionScope(channel, options["date"])
        if options["give_back"]:
            self.give_back(cause, scope, user, options)
            return
        form = BulkCorrectionForm(cause, bulk_values(cause, options))
        refuse_flaws([form])
        done = correct_all(cause, scope, user, form.reason, form.values, preview=options["preview"])
        document = result_document(done, is_preview=options["preview"])
        self.answer(document, *result_lines(document))
        if done.refused or done.skipped:
            raise SystemExit(1)

    def give_back(
        self, cause: SaleCause, scope: CorrectionScope, user: User, options: dict[str, Any]
    ) -> None:
        """Have all of a cause tried again by the next run, as they are."""
        if cause.reason not in REFUSAL_REASONS:
            known = " and ".join(REFUSAL_REASONS)
            raise WrongArgument(f"--give-back can only be used with the reasons {known}.")
        if options["given"] or options["expected"] or options["preview"]:
            raise WrongArgument("--give-back cannot be used with --set, --expected or --preview.")
        done = retry_refused(cause, scope, user)
        skipped = (
            f", {done.skipped} skipped: someone is correcting them, or a job is processing them"
            if done.skipped
            else ""
        )
        self.answer(
            {"given_back": done.unchanged, "skipped": done.skipped},
            f"{done.unchanged} will be retried by the next run{skipped}.",
        )
        if done.skipped:
            raise SystemExit(1)

    def undo(self, options: dict[str, Any]) -> None:
        correction = chosen_correction(options["what"])
        user = chosen_user(options["user"])
        undone, unchanged = undo_bulk_correction(correction, user, f"Undone: {correction}")
        self.answer(
            {"undone": undone, "left": unchanged},
            f"Undone in {counted(undone, 'transaction')}, {unchanged} left unchanged.",
        )
        if unchanged:
            raise SystemExit(1)


def lease(sale: RetailTransaction, user: User) -> None:
    """Keep it from jobs and other people. Errors: CommandError."""
    try:
        lease_transaction(sale, user)
    except CorrectionRefused as refused:
        raise CommandError(str(refused)) from None


def cause_summary(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "cause": str(SaleCause.of(row)),
        "sales": row["sales"],
        "text": explain(row["reason"], label(row["field"])),
    }


def bulk_values(cause: SaleCause, options: dict[str, Any]) -> dict[str, str]:
    """What the page would send: what each field becomes."""
    given = field_pairs(options["given"])
    ways = {name: TO_VALUE if value else TO_NOTHING for name, value in given.items()}
    ways |= dict.fromkeys(options["expected"], TO_EXPECTED)
    require_fields(ways, correctable_fields(cause))
    sent = {f"to-{name}": way for name, way in ways.items()} | given
    return sent | {"why": chosen_reason(options["reason"])}


def chosen_correction(text: str | None) -> UUID:
    correction = parse_guid(text or "")
    if not (correction and TransactionChange.objects.filter(correction=correction).exists()):
        raise WrongArgument(f"There is no correction {text or ''!r}.")
    return correction


def result_lines(document: dict[str, Any]) -> Iterator[str]:
    for word in ("corrected", "right", "waiting", "refused", "unchanged", "skipped"):
        if document[word]:
            yield f"{document[word]:>7}  {word}"
    for cause, count in document["broken"].items():
        yield f"{count:>7}  break {cause}"
    if document["correction"]:
        yield f"Correction {document['correction']}"
    elif not document["preview"]:
        yield "Nothing was corrected."


def result_document(done: CorrectionResult, *, is_preview: bool) -> dict[str, Any]:
    """What became, or would become, of the transactions of a cause."""
    is_kept = done.corrected and not is_preview
    return {
        "preview": is_preview,
        "correction": str(done.correction) if is_kept else None,
        "corrected": done.corrected,
        "right": done.valid,
        "waiting": done.waiting,
        "broken": {str(cause): count for cause, count in done.broken},
        "refused": done.refused,
        "unchanged": done.unchanged,
        "skipped": done.skipped,
    }


def described(sale: RetailTransaction) -> dict[str, Any]:
    return {
        "transaction": sale.transaction_id,
        "channel": sale.channel.code,
        "validation_status": sale.validation_status,
        "order_status": sale.order_status,
        "editing_until": sale.editing_until,
    }
