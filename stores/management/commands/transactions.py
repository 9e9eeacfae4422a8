"""Sales and orders: correct one or all that failed alike, undo that, give one back to the jobs."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import (
    add_set,
    add_user,
    chosen_channels,
    chosen_reason,
    chosen_user,
    field_pairs,
    filled_values,
    form_fields,
    is_text,
    parse_date,
    refuse_flaws,
)
from stores.management.base import SynclineCommand, print_json
from stores.models import Channel, FailedSale, RetailTransaction, TransactionChange
from stores.models.failed_sale import SaleCause
from stores.models.labels import label
from stores.models.reason import explain
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
    retry_refused,
    undo_bulk_correction,
)
from stores.pipeline.corrections.sales import correctable_fields as fields_of_cause
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
        "Transactions that are not posted: causes counts what failed alike, show lists the fields "
        "of one, correct changes some of them, let-go gives one back to the jobs that is being "
        "corrected or that the database refused, correct-alike corrects all of a cause or gives "
        "them back, undo takes such a correction back. "
        "Exit status: 0 done, 1 not possible, or some are left as they are, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument(
            "what",
            nargs="?",
            metavar="WHAT",
            help="show, correct, let-go: the number that the till gave; correct-alike: the cause, "
            "as causes names it; undo: the correction, as correct-alike has told it",
        )
        add_set(parser)
        parser.add_argument(
            "--expected",
            action="append",
            default=[],
            metavar="FIELD",
            help="correct-alike: what the rule expects of each",
        )
        parser.add_argument(
            "--preview", action="store_true", help="correct-alike: say what would become of them"
        )
        parser.add_argument(
            "--give-back",
            action="store_true",
            help="correct-alike: have what the database refused tried again, unchanged",
        )
        parser.add_argument("--channel", metavar="CODE", help="only transactions of this channel")
        parser.add_argument(
            "--date",
            type=parse_date,
            metavar="YYYY-MM-DD",
            help="correct-alike: only this business date",
        )
        parser.add_argument("--reason", metavar="R", help="correct, correct-alike: why; it is kept")
        add_user(parser, "all but causes and show")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        chosen_channels([options["channel"]] if options["channel"] is not None else [])
        if action == "causes":
            self.causes(options)
        elif action == "correct-alike":
            self.correct_alike(options)
        elif action == "undo":
            self.undo(options)
        else:
            sale = chosen(options["what"], options["channel"])
            {"show": self.show, "correct": self.correct, "let-go": self.let_go}[action](
                sale, options
            )

    def causes(self, options: dict[str, Any]) -> None:
        """One line for each cause, the most frequent first."""
        rows = FailedSale.objects.by_cause()
        rows = rows.filter(channel__code=options["channel"]) if options["channel"] else rows
        causes = [
            {
                "cause": str(SaleCause(row["reason"], row["field"], row["part"])),
                "sales": row["sales"],
                "text": explain(row["reason"], label(row["field"])),
            }
            for row in rows
        ]
        if options["json"]:
            print_json(self, {"causes": causes})
            return
        for row in causes:
            self.stdout.write(CAUSE_FORMAT.format_map(row))
        self.stdout.write(f"{len(causes)} causes." if len(causes) != 1 else "1 cause.")

    def show(self, sale: RetailTransaction, options: dict[str, Any]) -> None:
        """Every field that can be corrected, with its value."""
        fields = form_fields([CorrectionForm(sale)])
        fields.pop("why")
        if options["json"]:
            print_json(self, described(sale) | {"fields": fields})
            return
        for name, value in fields.items():
            self.stdout.write(f"{name:<30} {value if value is not None else '-'}")

    def correct(self, sale: RetailTransaction, options: dict[str, Any]) -> None:
        """Take the lease, write the values, and let go."""
        given = field_pairs(options["given"]) | {"why": chosen_reason(options["reason"])}
        user = chosen_user(options["user"])
        form = CorrectionForm(sale, filled_values([CorrectionForm(sale)], given))
        refuse_flaws([form])
        try:
            lease_transaction(sale, user)
            changed = correct_transaction(sale, user, form.reason, form.changes())
        except CorrectionRefused as refused:
            raise CommandError(str(refused)) from None
        sale.refresh_from_db()
        if options["json"]:
            print_json(self, described(sale) | {"changed": changed})
            return
        message = f"{changed} value{'' if changed == 1 else 's'} corrected."
        self.stdout.write(f"{message} {validation_message(sale)}")

    def let_go(self, sale: RetailTransaction, options: dict[str, Any]) -> None:
        """Give it back to the jobs, if it is the user who corrects it, or it was refused."""
        user = chosen_user(options["user"])
        if sale.errors.filter(rule__in=REFUSAL_REASONS).exists():
            try:
                lease_transaction(sale, user)
            except CorrectionRefused as refused:
                raise CommandError(str(refused)) from None
        elif sale.editing_by_id != user.pk:
            raise CommandError(f"{user} is not correcting it.")
        release_lease(sale, user)
        sale.refresh_from_db()
        if options["json"]:
            print_json(self, described(sale))
        else:
            self.stdout.write(f"{sale.transaction_id} is given back to the jobs.")

    def correct_alike(self, options: dict[str, Any]) -> None:
        """Correct all of a cause, say what would become of them, or give them back."""
        cause = SaleCause.parse(options["what"] or "")
        if cause is None or not is_text(options["what"]):
            raise CommandError("Name a cause: REASON:FIELD:PART, as causes lists.", returncode=2)
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
        if options["json"]:
            print_json(self, document)
        else:
            self.report(document)
        if done.refused or done.skipped:
            raise SystemExit(1)

    def give_back(
        self, cause: SaleCause, scope: CorrectionScope, user: User, options: dict[str, Any]
    ) -> None:
        """Have all of a cause tried again by the next run, as they are."""
        if cause.reason not in REFUSAL_REASONS:
            known = " and ".join(REFUSAL_REASONS)
            raise CommandError(f"--give-back goes with {known} only.", returncode=2)
        if options["given"] or options["expected"] or options["preview"]:
            raise CommandError(
                "--give-back changes nothing: it goes without --set, --expected and --preview.",
                returncode=2,
            )
        done = retry_refused(cause, scope, user)
        counts = {"given_back": done.unchanged, "skipped": done.skipped}
        if options["json"]:
            print_json(self, counts)
        else:
            self.stdout.write(
                f"{done.unchanged} will be retried by the next run, {done.skipped} skipped:"
                " someone is correcting them, or a job is processing them."
                if done.skipped
                else f"{done.unchanged} will be retried by the next run."
            )
        if done.skipped:
            raise SystemExit(1)

    def report(self, document: dict[str, Any]) -> None:
        for word in ("corrected", "right", "waiting", "refused", "unchanged", "skipped"):
            if document[word]:
                self.stdout.write(f"{document[word]:>7}  {word}")
        for cause, count in document["broken"].items():
            self.stdout.write(f"{count:>7}  break {cause}")
        if document["correction"]:
            self.stdout.write(f"Correction {document['correction']}")
        elif not document["preview"]:
            self.stdout.write("Nothing was corrected.")

    def undo(self, options: dict[str, Any]) -> None:
        """Take a correction back, as far as nothing was posted or changed since."""
        correction = known_correction(options["what"])
        user = chosen_user(options["user"])
        undone, unchanged = undo_bulk_correction(correction, user, f"Undone: {correction}")
        if options["json"]:
            print_json(self, {"undone": undone, "left": unchanged})
        else:
            self.stdout.write(f"{undone} as before, {unchanged} left as they are.")
        if unchanged:
            raise SystemExit(1)


def bulk_values(cause: SaleCause, options: dict[str, Any]) -> dict[str, str]:
    """What the page would send: what each field becomes. Errors: CommandError with status 2."""
    given = field_pairs(options["given"])
    ways = {name: TO_VALUE if value else TO_NOTHING for name, value in given.items()}
    ways |= dict.fromkeys(options["expected"], TO_EXPECTED)
    known = fields_of_cause(cause)
    for name in ways:
        if name not in known:
            there = ", ".join(known) or "none"
            raise CommandError(
                f"There is no field {name!r} in this cause; there are: {there}.", returncode=2
            )
    sent = {f"to-{name}": way for name, way in ways.items()} | given
    return sent | {"why": chosen_reason(options["reason"])}


def chosen(number: str | None, channel: str | None) -> RetailTransaction:
    """The transaction to which a till gave this number. Errors: CommandError with status 2."""
    sales = RetailTransaction.objects.filter(transaction_id=number or "")
    sales = sales.filter(channel__code=channel) if channel is not None else sales
    matching = list(sales.select_related("channel")) if is_text(number or "") else []
    if not matching:
        raise CommandError(f"There is no transaction {number or ''!r}.", returncode=2)
    if len(matching) > 1:
        codes = ", ".join(sorted(sale.channel.code for sale in matching))
        raise CommandError(f"Several channels have it ({codes}): --channel.", returncode=2)
    return matching[0]


def known_correction(text: str | None) -> UUID:
    """The correction with this id. Errors: CommandError with status 2."""
    try:
        correction = UUID(text or "")
        known = TransactionChange.objects.filter(correction=correction).exists()
    except ValueError:
        known = False
    if not known:
        raise CommandError(f"There is no correction {text or ''!r}.", returncode=2)
    return correction


def result_document(done: CorrectionResult, *, is_preview: bool) -> dict[str, Any]:
    """What became, or would become, of transactions that failed alike."""
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
