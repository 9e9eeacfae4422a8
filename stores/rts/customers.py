"""Create a customer at once, or say which account a GUID has.

The event that a till sends is staged in a batch of its own and converted, in one transaction. It
belongs to the channel's own database, in a generation that no database writes: so it comes before
everything that tills write there, and nobody looks for it there. If the till did not hear the
answer and writes the same event into its database, the upload finds that HQ knows it.

What a GUID has become never changes, so the same call has the same answer for ever. Whether two
calls are the same is decided as between two uploads: by the id and the content of the event.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction

from stores.hqdb.retry import is_data_error
from stores.hqdb.sql import run_sql
from stores.hqdb.work_table import WorkTable
from stores.messages.reasons import explain
from stores.models import (
    AsyncCustomer,
    Channel,
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    GuidMap,
    Quarantine,
    RtsAnswer,
    RtsToken,
    StagedCustomer,
)
from stores.models.run import StepFailed
from stores.models.staging import RTS_GENERATION, Operation, Origin, StagingStatus
from stores.pipeline import number_journal
from stores.pipeline.convert.accounts import require_issuing_allowed
from stores.pipeline.convert.apply import convert_batch, convert_guids, lock_accounts
from stores.pipeline.corrections.events import broken_rules, incoming_event
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.events.rules import Rule
from stores.pipeline.fields_to_correct import record_fields
from stores.pipeline.issuing import require_checked_numbers
from stores.pipeline.upload.batches import close_batch, open_batch
from stores.pipeline.upload.foreign_guids import foreign_by_hq
from stores.pipeline.upload.quarantine import UploadSource
from stores.pipeline.upload.staging import drop_known, insert_staged
from stores.rts.errors import ServiceError, unavailable

# A till waits no longer than this for a conversion, or for a statement. It writes its event then.
MAX_WAIT_S, MAX_STATEMENT_S = 5, 10
# A new customer that fails for these reasons fails for all tills: its event can wait at HQ.
WITHOUT_NUMBER = ("sequence_exhausted", "sequence_missing")


@dataclass(frozen=True)
class Answer:
    """What HQ knows of a GUID. Without an account, `state` and `message` say why there is none."""

    async_account: UUID
    company: str
    account_number: str | None
    state: str = ""
    message: str = ""

    @property
    def body(self) -> dict[str, Any]:
        account = {
            "async_account": str(self.async_account),
            "company": self.company,
            "account_number": self.account_number,
        }
        if self.account_number is not None:
            return account
        return account | {"state": self.state, "message": self.message}


def create_customer(
    channel: Channel, values: Mapping[str, Any], *, token: RtsToken | None = None
) -> tuple[Answer, bool]:
    """Create the customer of an event, or find the one whom it has created before.

    Return the answer, and whether the call has created the account. Effects: those of a conversion,
    and the token's answer; the number journal is completed before anybody learns of the account.
    The till in the portal has no token. Raise ServiceError, StepFailed or DatabaseError, and then
    nothing has changed.
    """
    guid = values["async_account"]
    has_account = GuidMap.objects.filter(pk=guid).exists()
    if not has_account:
        require_checked_numbers()
    with waiting_briefly():
        if not has_account:
            require_issuing_allowed()
            # Of two calls with one GUID, the second finds what the first has made.
            lock_accounts(channel.company)
        is_new = convert_event(channel, values)
        answer = answer_for(channel, guid)
        if answer.account_number is not None and token is not None:
            RtsAnswer.objects.bulk_create(
                [RtsAnswer(async_account=guid, token=token)], ignore_conflicts=True
            )
    require_journaled(answer)
    return answer, is_new and answer.account_number is not None


def look_up(token: RtsToken, guid: UUID) -> Answer:
    """Return what HQ knows of a GUID that the channel has made, or was sent. Raise ServiceError."""
    answer = answer_for(token.channel, guid)
    require_journaled(answer)
    return answer


@contextmanager
def waiting_briefly() -> Iterator[None]:
    """Run the block in a transaction that waits for nobody for long."""
    with transaction.atomic():
        run_sql(
            """SELECT set_config('lock_timeout', %s, true),
                      set_config('statement_timeout', %s, true)""",
            [f"{MAX_WAIT_S}s", f"{MAX_STATEMENT_S}s"],
        )
        yield


def require_journaled(answer: Answer) -> None:
    """Complete the number journal if it lacks the account: only what it has may leave HQ."""
    number = (
        Customer.objects.filter(company=answer.company, account_number=answer.account_number)
        .values_list("number", flat=True)
        .first()
    )
    if number is not None and number >= number_journal.first_unjournaled(answer.company):
        problem = number_journal.append_missing()
        if problem:
            raise StepFailed(problem)


# ------------------------------------------------------------------------------ create


def convert_event(channel: Channel, values: Mapping[str, Any]) -> bool:
    """Convert the event, and stage it first unless HQ has it. Return whether it was staged."""
    event = {**values, "operation": Operation.CREATE, "created_offline": False}
    guid, database = values["async_account"], channel.own_database
    if database is None:
        raise unavailable("no_database", "The channel has no database yet.")
    with incoming_event(CUSTOMER, event) as incoming:
        if foreign_by_hq(UploadSource(database, None, RTS_GENERATION), incoming):
            raise conflict("guid_conflict", "async_account")
        if is_known(values, incoming):
            if not GuidMap.objects.filter(pk=guid).exists():
                convert_guids(channel.company, [guid], run_key=None)
            return False
        stage_and_convert(database, event, incoming)
    return True


def is_known(values: Mapping[str, Any], incoming: WorkTable) -> bool:
    """Whether HQ has the event, or the account of its GUID but no event.

    Raise ServiceError if HQ has another event of the same id, or another creation of the same GUID.
    """
    drop_known(CUSTOMER, incoming)
    if not incoming.count():
        return True
    guid = values["async_account"]
    if held := StagedCustomer.objects.filter(pk=values["event_id"]).first():
        # What an erased customer's event said cannot be compared any more.
        if held.erased_at is not None and held.async_account == guid:
            return True
        raise conflict("event_conflict", "event_id")
    if AsyncCustomer.objects.filter(async_account=guid, operation=Operation.CREATE).exists():
        raise conflict("guid_used", "async_account")
    # A restored HQ may have the account back from the channels, but no event.
    return GuidMap.objects.filter(pk=guid).exists()


def stage_and_convert(
    database: ChannelDatabase, event: Mapping[str, Any], incoming: WorkTable
) -> None:
    """Stage the event of a new customer and convert it. Raise ServiceError if HQ refuses it."""
    company = database.channel.company
    broken = broken_rules(CUSTOMER, company, incoming)
    refused = {rule.field: rule for rule in reversed(broken) if not rule.is_optional}
    if refused:
        raise refusal({field: rule_sentence(rule) for field, rule in refused.items()})
    if broken:
        record_fields(incoming, company, database.pk)
    batch = open_batch(company, database=database)
    source = UploadSource(database, None, RTS_GENERATION, batch, origin=Origin.RTS)
    try:
        staged, _ = insert_staged(source, CUSTOMER, incoming)
        if not staged:
            raise unavailable("uploaded_meanwhile", "The event is being uploaded. Call again.")
        close_batch(batch, staged)
        convert_batch(company, batch)
    except DatabaseError as error:
        if is_data_error(error):
            raise refusal({"async_account": explain("refused")}) from None
        raise
    require_applied(event["event_id"])


def require_applied(event_id: UUID) -> None:
    """Raise ServiceError if the event has failed. It may wait, if conversion wants it to."""
    staged = AsyncCustomer.objects.get(pk=event_id)
    if staged.status != StagingStatus.FAILED:
        return
    reason = staged.reason or ""
    if reason in WITHOUT_NUMBER:
        raise unavailable(reason, explain(reason))
    raise refusal({staged.field or "async_account": sentence(reason, staged.field or "")})


def refusal(fields: Mapping[str, str]) -> ServiceError:
    message = "Headquarters refuses this customer, and has stored nothing."
    return ServiceError(422, "customer_refused", message, fields=fields)


def conflict(code: str, field: str) -> ServiceError:
    """Return the error of an event that contradicts what HQ has. Nothing has changed."""
    told = {"guid_used": "The GUID has been sent before, with another event or other values."}
    message = told.get(code) or sentence(code, field)
    return ServiceError(409, code, message, fields={field: message})


def rule_sentence(rule: Rule) -> str:
    """Return the sentence for a broken rule, with what the field may hold."""
    told = sentence(rule.code, rule.field)
    return f"{told.removesuffix('.')}: {rule.allows}." if rule.allows else told


def sentence(reason: str, field: str) -> str:
    """Return the sentence for a reason, without the name of the field before it."""
    text = explain(reason, field).removeprefix(f"{field}: ")
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------------- accounts


def answer_for(channel: Channel, guid: UUID) -> Answer:
    """Return what HQ knows of a GUID. Raise ServiceError if the channel cannot know the GUID."""
    found = GuidMap.objects.filter(pk=guid, company=channel.company).select_related("customer")
    if account := found.first():
        if account.channel_id == channel.pk or was_sent(channel, account.customer):
            return Answer(guid, channel.company_id, account.customer.account_number)
    elif answer := answer_without_account(channel, guid):
        return answer
    raise ServiceError(404, "unknown_guid", "Headquarters knows no such GUID of this channel.")


def was_sent(channel: Channel, customer: Customer) -> bool:
    sent = CustomerDelivery.objects.filter(database__channel=channel, customer=customer)
    return sent.exists()


def answer_without_account(channel: Channel, guid: UUID) -> Answer | None:
    """Return why a customer of the channel has no account yet, if HQ has an event of it."""
    events = AsyncCustomer.objects.filter(async_account=guid, database__channel=channel)
    if event := events.order_by("staged_at", "pk").first():
        state = "not_synchronized"
        if event.status == StagingStatus.FAILED:
            state = "failed"
        elif event.reason:
            state = "waiting"
        message = explain(event.reason, event.field) if event.reason else "It is converted soon."
        return Answer(guid, channel.company_id, None, state, message)
    quarantined = Quarantine.objects.open().filter(
        async_account=guid, table=CUSTOMER.event, database__channel=channel
    )
    if row := quarantined.order_by("pk").first():
        return Answer(guid, channel.company_id, None, "failed", explain(row.reason, row.field))
    return None
