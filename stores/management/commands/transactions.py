"""List failed transactions by cause, and show, correct and release transactions."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management import arguments
from stores.management.base import FAILED, SynclineCommand, add_action, add_actions
from stores.messages.labels import counted, label
from stores.messages.reasons import explain
from stores.models import FailedSale, RetailTransaction, TransactionChange
from stores.models.failed_sale import SaleCause
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
)
from stores.pipeline.corrections.undo import undo_bulk_correction
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.web.forms.sale import (
    TO_EXPECTED,
    TO_NOTHING,
    TO_VALUE,
    BulkCorrectionForm,
    CorrectionForm,
)

CAUSE_FORMAT = "{sales:>7}  {cause}  {text}"


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
    failures = (CorrectionRefused,)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)

        causes_parser = add_action(actions, "causes", self.list_causes)
        add_channel(causes_parser)

        show_parser = add_action(actions, "show", self.show_sale)
        add_number(show_parser)

        correct_parser = add_action(actions, "correct", self.correct_sale)
        add_number(correct_parser)
        arguments.add_set(correct_parser, required=True)
        arguments.add_reason(correct_parser)
        arguments.add_user(correct_parser)

        release_parser = add_action(actions, "let-go", self.release_sale)
        add_number(release_parser)
        arguments.add_user(release_parser)

        bulk_parser = add_action(actions, "correct-alike", self.correct_or_retry_cause)
        bulk_parser.add_argument(
            "cause", type=parse_cause, metavar="CAUSE", help="The cause, as printed by causes."
        )
        add_channel(bulk_parser)
        bulk_parser.add_argument(
            "--date",
            type=arguments.parse_date,
            metavar="YYYY-MM-DD",
            help="Only this business date.",
        )
        arguments.add_set(bulk_parser)
        bulk_parser.add_argument(
            "--expected",
            action="append",
            default=[],
            metavar="FIELD",
            help="Sets a field to what the rule expects of each transaction.",
        )
        arguments.add_reason(bulk_parser, required=False)
        mode = bulk_parser.add_mutually_exclusive_group()
        mode.add_argument("--preview", action="store_true", help="Shows the result, saves nothing.")
        mode.add_argument(
            "--give-back",
            action="store_true",
            help="Retries what the database rejected, unchanged.",
        )
        arguments.add_user(bulk_parser)

        undo_parser = add_action(actions, "undo", self.undo_correction)
        undo_parser.add_argument(
            "correction",
            type=arguments.parse_uuid,
            metavar="CORRECTION",
            help="The correction, as printed by correct-alike.",
        )
        arguments.add_user(undo_parser)

    def list_causes(self, options: dict[str, Any]) -> None:
        """Counts what failed, by cause."""
        counts_by_cause = FailedSale.objects.by_cause()
        if options["channel"] is not None:
            channel = arguments.get_channel(options["channel"])
            counts_by_cause = counts_by_cause.filter(channel=channel)
        self.print_rows("cause", map(cause_as_dict, counts_by_cause), CAUSE_FORMAT)

    def show_sale(self, options: dict[str, Any]) -> None:
        """Shows the fields that can be corrected."""
        sale = get_sale(options)
        fields = arguments.form_values([CorrectionForm(sale)])
        fields.pop("why")
        values = {name: value or None for name, value in fields.items()}
        self.print_fields(sale_as_dict(sale), values)

    def correct_sale(self, options: dict[str, Any]) -> None:
        """Corrects one transaction."""
        sale = get_sale(options)
        user = arguments.get_user(options["user"])
        data = arguments.form_data([CorrectionForm(sale)], options["assignments"])
        form = CorrectionForm(sale, data | {"why": options["reason"]})
        arguments.raise_form_errors([form], {"why": "--reason"})
        lease_transaction(sale, user)
        changed = correct_transaction(sale, user, form.reason, form.changes())
        sale.refresh_from_db()
        self.print_json_or_text(
            sale_as_dict(sale) | {"changed": changed},
            f"{counted(changed, 'value')} corrected. {validation_message(sale)}",
        )

    def release_sale(self, options: dict[str, Any]) -> None:
        """Gives one back to the jobs.

        Either the user is correcting it, or the database refused it.
        """
        sale = get_sale(options)
        user = arguments.get_user(options["user"])
        if sale.errors.filter(rule__in=REFUSAL_REASONS).exists():
            lease_transaction(sale, user)
        elif sale.editing_by_id != user.pk:
            raise CommandError(f"{user} is not correcting it.")
        release_lease(sale, user)
        sale.refresh_from_db()
        self.print_json_or_text(
            sale_as_dict(sale), f"{sale.transaction_id} is given back to the jobs."
        )

    def correct_or_retry_cause(self, options: dict[str, Any]) -> None:
        """Corrects all transactions of a cause, or retries them."""
        if options["give_back"]:
            self.retry_cause(options)
        else:
            self.correct_cause(options)

    def correct_cause(self, options: dict[str, Any]) -> None:
        if options["reason"] is None:
            raise arguments.wrong_argument("--reason is required for a correction.")
        cause, is_preview = options["cause"], options["preview"]
        user = arguments.get_user(options["user"])
        form = BulkCorrectionForm(cause, bulk_form_data(options))
        typed = {f"to-{name}": f"--set {name}" for name, _ in options["assignments"]}
        typed |= {f"to-{name}": f"--expected {name}" for name in options["expected"]}
        arguments.raise_form_errors([form], {"why": "--reason"} | typed)
        result = correct_all(
            cause, get_scope(options), user, form.reason, form.values, preview=is_preview
        )
        document = result_as_dict(result, is_preview=is_preview)
        status = FAILED if result.refused or result.skipped else 0
        self.print_json_or_text(document, *result_lines(document), status=status)

    def retry_cause(self, options: dict[str, Any]) -> None:
        cause = options["cause"]
        if options["assignments"] or options["expected"]:
            raise arguments.wrong_argument("--give-back cannot be used with --set or --expected.")
        if cause.reason not in REFUSAL_REASONS:
            reasons = " and ".join(REFUSAL_REASONS)
            raise arguments.wrong_argument(
                f"--give-back can only be used with the reasons {reasons}."
            )
        result = retry_refused(cause, get_scope(options), arguments.get_user(options["user"]))
        sentence = f"{result.unchanged} will be retried by the next run"
        if result.skipped:
            sentence += (
                f", {result.skipped} skipped: someone is correcting them, or a job is processing"
                " them"
            )
        self.print_json_or_text(
            {"given_back": result.unchanged, "skipped": result.skipped},
            f"{sentence}.",
            status=FAILED if result.skipped else 0,
        )

    def undo_correction(self, options: dict[str, Any]) -> None:
        """Reverts a correction of a cause, where nothing was posted or changed since."""
        correction = options["correction"]
        if not TransactionChange.objects.filter(correction=correction).exists():
            raise arguments.wrong_argument(f"There is no correction {correction}.")
        user = arguments.get_user(options["user"])
        undone, unchanged = undo_bulk_correction(correction, user, f"Undone: {correction}")
        self.print_json_or_text(
            {"undone": undone, "left": unchanged},
            f"Undone in {counted(undone, 'transaction')}, {unchanged} left unchanged.",
            status=FAILED if unchanged else 0,
        )


def parse_cause(text: str) -> SaleCause:
    cause = SaleCause.parse(text)
    if cause is None or not arguments.is_searchable(text):
        raise ArgumentTypeError("a cause is REASON:FIELD:PART, as printed by causes")
    return cause


def add_channel(parser: CommandParser) -> None:
    parser.add_argument("--channel", metavar="CODE", help="Only transactions of this channel.")


def add_number(parser: CommandParser) -> None:
    parser.add_argument("number", metavar="NUMBER", help="The till's number of the transaction.")
    parser.add_argument(
        "--channel", metavar="CODE", help="The channel, if several have the number."
    )


def get_sale(options: dict[str, Any]) -> RetailTransaction:
    """Return the only transaction with this number. Errors: CommandError with status 2."""
    number = options["number"]
    sales = RetailTransaction.objects.filter(transaction_id=number)
    return arguments.get_only_row("transaction", number, sales, "channel", options["channel"])


def get_scope(options: dict[str, Any]) -> CorrectionScope:
    """Return the channel and business date to correct; None stands for all."""
    code = options["channel"]
    channel = None if code is None else arguments.get_channel(code)
    return CorrectionScope(channel, options["date"])


def bulk_form_data(options: dict[str, Any]) -> dict[str, str]:
    """Return the data of `BulkCorrectionForm`: for each field the way it changes, and its value.

    Errors: CommandError with status 2 for an unknown field.
    """
    values = dict(options["assignments"])
    ways = {name: TO_VALUE if value else TO_NOTHING for name, value in values.items()}
    ways |= dict.fromkeys(options["expected"], TO_EXPECTED)
    arguments.check_fields(ways, correctable_fields(options["cause"]))
    data = {f"to-{name}": way for name, way in ways.items()}
    return data | values | {"why": options["reason"]}


def cause_as_dict(counts: dict[str, Any]) -> dict[str, Any]:
    """One of the dictionaries of `by_cause`, as the output shows it."""
    return {
        "cause": str(SaleCause.of(counts)),
        "sales": counts["sales"],
        "text": explain(counts["reason"], label(counts["field"])),
    }


def sale_as_dict(sale: RetailTransaction) -> dict[str, Any]:
    return {
        "transaction": sale.transaction_id,
        "channel": sale.channel.code,
        "validation_status": sale.validation_status,
        "order_status": sale.order_status,
        "editing_until": sale.editing_until,
    }


def result_as_dict(result: CorrectionResult, *, is_preview: bool) -> dict[str, Any]:
    is_saved = result.corrected and not is_preview
    return {
        "preview": is_preview,
        "correction": str(result.correction) if is_saved else None,
        "corrected": result.corrected,
        "right": result.valid,
        "waiting": result.waiting,
        "broken": {str(cause): count for cause, count in result.broken},
        "refused": result.refused,
        "unchanged": result.unchanged,
        "skipped": result.skipped,
    }


def result_lines(document: dict[str, Any]) -> Iterator[str]:
    for outcome in ("corrected", "right", "waiting", "refused", "unchanged", "skipped"):
        if document[outcome]:
            yield f"{document[outcome]:>7}  {outcome}"
    for cause, count in document["broken"].items():
        yield f"{count:>7}  break {cause}"
    if document["correction"]:
        yield f"Correction {document['correction']}"
    elif not document["preview"]:
        yield "Nothing was corrected."
