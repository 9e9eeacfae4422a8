"""Enter a channel, take its fence, write through it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

from django.db import transaction

from stores.channeldb.errors import ChannelBlocked
from stores.channeldb.exchange.protocol import (
    ChannelState,
    Contradiction,
    EventBatch,
    EventTable,
    NonceRefused,
    PositionMove,
    TableData,
    Visit,
    VisitToken,
)
from stores.failpoints import failpoint
from stores.hqdb.sql import fetch, fetch_one, run_sql
from stores.models import ChannelDatabase, RunStep
from stores.models.incident import BLOCKS_DATABASE, IncidentKind
from stores.pipeline.fence.decision import KnownState, compare_tokens
from stores.pipeline.fence.incidents import (
    accept_first_contact,
    handle_mismatch,
    report_contradiction,
)
from stores.pipeline.fence.schema_drift import open_visit

Result = TypeVar("Result")
# One transaction of HQ; refused when the work is no longer ours.
Chunk = Callable[[], AbstractContextManager[None]]


@contextmanager
def enter(step: RunStep) -> Iterator["FencedChannel"]:
    """Open the step's channel database, once HQ is sure that it is the one it left.

    Effects: none when all is well; else an incident and what it entails, committed at once.
    Errors: ChannelBlocked with one sentence; those of connect().
    """
    known = read_known_state(step.its_database)
    step.has_entered = True
    if known.blocked_by:
        raise ChannelBlocked(
            f"Channel {step.place} is blocked until incident {known.blocked_by} is closed."
        )
    with open_visit(step.its_database) as channel:
        fenced = FencedChannel(channel, step.its_database, step.chunk)
        fenced.check_identity(known)
        yield fenced


def read_known_state(database: ChannelDatabase) -> KnownState:
    """What HQ knows of the database at this moment, in one query."""
    return KnownState(
        *fetch_one(
            # In the order of the fields of KnownState.
            """SELECT known.database_id, known.generation, known.confirmed_epoch,
                      known.confirmed_nonce, known.intended_epoch, known.intended_nonce,
                      (SELECT coalesce(json_object_agg(company_id, next), '{}')
                         FROM number_sequence) AS next_numbers,
                      known.staged::json,
                      (SELECT coalesce(json_object_agg(company || '/' || series, number), '{}')
                         FROM issued_document WHERE number > 0) AS issued,
                      (SELECT min(incident.id) FROM incident
                        WHERE incident.database_id = known.id AND incident.closed_at IS NULL
                          AND incident.kind = ANY(%s)) AS blocked_by,
                      known.recognised_start IS DISTINCT FROM pg_postmaster_start_time()
                      OR EXISTS (SELECT FROM incident
                                  WHERE kind = %s AND closed_at IS NULL) AS is_watched,
                      (SELECT coalesce(json_object_agg(code, change_no), '{}')
                         FROM company) AS changes
                 FROM channel_database known WHERE known.id = %s""",
            [
                [kind.value for kind in BLOCKS_DATABASE],
                IncidentKind.HQ_MOVED.value,
                database.pk,
            ],
        )
    )


class FencedChannel:
    """An open channel that HQ has recognised: the verbs of a visit, guarded by the fence.

    Two visits of one database may go on side by side, an upload of one run and a download of
    another: whoever writes takes the fence over, is refused when the other one has it, and takes it
    back. Taking it begins with a chunk, so a worker that was stopped, and whose step another one
    does by now, never gets it again.
    """

    def __init__(self, channel: Visit, database: ChannelDatabase, chunk: Chunk) -> None:
        self.channel, self.database, self.chunk = channel, database, chunk
        self.company: str = database.channel.company_id
        # Up to which change the channel says that it has everything.
        self.position = 0
        # What the channel shows as the latest visit, as far as this one knows; and the nonce under
        # which this one may write.
        self.latest: VisitToken | None = None
        self.nonce: UUID | None = None
        # Numbers of orders and invoices that HQ has issued and the channel has not heard of.
        self.untold: dict[str, int] = {}

    # ------------------------------------------------------------------- recognise

    def check_identity(self, known: KnownState) -> VisitToken:
        """Compare what HQ and the channel remember. Returns the channel's pair.

        Errors: ChannelBlocked.
        """
        state = self.channel.state()
        if state is None or not known.is_known or compare_tokens(known, state):
            # Another visit may have come between the two looks; while HQ's row is locked none can.
            known, state = self.check_identity_under_lock()
        else:
            self.untold = unreported_numbers(self.database, known, state)
        self.database.generation = known.generation
        self.latest = state.token
        self.position = state.positions.get(self.company, 0)
        if known.is_watched:
            run_sql(
                "UPDATE channel_database SET fenced_at = now(), "
                "recognised_start = pg_postmaster_start_time() WHERE id = %s",
                [self.database.pk],
            )
        return state.token

    def check_identity_under_lock(self) -> tuple[KnownState, ChannelState]:
        """Compare again, of one moment, and handle a mismatch. Errors: ChannelBlocked."""
        database = self.database
        with transaction.atomic():
            ChannelDatabase.objects.select_for_update().get(pk=database.pk)
            state, known = self.channel.state(), read_known_state(database)
            if state is None or (known.is_known and compare_tokens(known, state)):
                sentence = handle_mismatch(database, known, state, self.channel)
            else:
                sentence = None if known.is_known else accept_first_contact(database, known, state)
        if sentence or state is None:
            raise ChannelBlocked(sentence or "")
        return read_known_state(database), state

    # ---------------------------------------------------------------- take the fence

    def acquire(self) -> UUID:
        """Make this visit the latest one, in three steps. Returns its nonce.

        Before rows that were read are staged, too: so whatever HQ has staged is in every copy of
        the channel that shows the confirmed pair. Errors: ChannelBlocked, and those of the chunk.
        """
        while True:
            token = self.intend()
            channel_token = self.check_identity(read_known_state(self.database))
            if channel_token != token and self.channel.fence(channel_token, token):
                self.confirm_written(token)
                self.nonce = token.nonce
                return token.nonce

    def intend(self) -> VisitToken:
        """Commit what the channel is about to hold; an unconfirmed intention is reused.

        Unless the channel shows it already, by a visit that died or goes on: each write has its
        own.
        """
        while True:
            token = self.note_intention()
            if token != (self.latest or self.check_identity(read_known_state(self.database))):
                return token
            self.confirm(token)

    def note_intention(self) -> VisitToken:
        with self.chunk():
            epoch, nonce = fetch_one(
                """UPDATE channel_database
                      SET intended_epoch = coalesce(intended_epoch, confirmed_epoch + 1),
                          intended_nonce = coalesce(intended_nonce, %s)
                    WHERE id = %s RETURNING intended_epoch, intended_nonce""",
                [str(uuid4()), self.database.pk],
            )
        failpoint("fence:after_intention")
        return VisitToken(epoch, nonce)

    def confirm_written(self, token: VisitToken) -> None:
        failpoint("fence:after_channel")
        self.latest = token
        self.confirm(token)

    def confirm(self, token: VisitToken) -> None:
        """Note that the channel holds the pair, unless another visit has noted it already."""
        with self.chunk():
            run_sql(
                """UPDATE channel_database
                      SET confirmed_epoch = intended_epoch, confirmed_nonce = intended_nonce,
                          intended_epoch = NULL, intended_nonce = NULL, fenced_at = now()
                    WHERE id = %s AND intended_epoch = %s AND intended_nonce = %s""",
                [self.database.pk, token.epoch, str(token.nonce)],
            )
            failpoint("fence:before_confirmation")
        failpoint("fence:after_confirmation")

    # --------------------------------------------------------------------- the verbs

    def read_events(
        self, sources: Sequence[EventTable], *, limit: int, beyond: dict[str, int]
    ) -> list[EventBatch]:
        return self.channel.read_events(sources, limit=limit, beyond=beyond)

    def acknowledge(self, events: Sequence[EventBatch]) -> dict[str, int]:
        """See Visit.acknowledge. Errors: also those of acquire()."""
        return self.write(partial(self.channel.acknowledge, events))

    def apply(
        self,
        tables: Sequence[TableData],
        *,
        session: UUID,
        part: int,
        job: str,
        move: PositionMove | None = None,
    ) -> int:
        """See Visit.apply; each part has a pair of its own. Errors: also those of acquire()."""
        apply = partial(self.channel.apply, tables, session=session, part=part, job=job, move=move)
        high = highest_issued(self.database)
        while True:
            token = self.intend()
            latest = self.latest or self.check_identity(read_known_state(self.database))
            try:
                rows = apply(nonce=latest.nonce, following=token, high=high)
            except NonceRefused:
                self.latest = None
            except Contradiction as found:
                raise ChannelBlocked(report_contradiction(self.database, found)) from None
            else:
                self.position = move.to if move else self.position
                self.confirm_written(token)
                return rows

    def reopen(self, table: str, counters: Sequence[int]) -> int:
        """See Visit.reopen. Errors: also those of acquire()."""
        return self.write(partial(self.channel.reopen, table, counters))

    def write_issued(self) -> None:
        """Let the channel remember how far orders and invoices are numbered, where it does not.

        As it remembers account numbers: a witness when HQ and its journal are set back together.
        Errors: those of acquire().
        """
        if self.untold:
            self.write(partial(self.channel.note_issued, self.untold))
            self.untold = {}

    def write(self, verb: Callable[..., Result]) -> Result:
        """Do one write of the channel under the fence; taken back if another visit has it."""
        while True:
            self.nonce = self.nonce or self.acquire()
            try:
                return verb(nonce=self.nonce)
            except NonceRefused:
                self.nonce = self.latest = None


def unreported_numbers(
    database: ChannelDatabase, known: KnownState, state: ChannelState
) -> dict[str, int]:
    """The highest numbers of documents of the database's company that the channel lacks."""
    prefix = f"{database.channel.company_id}/"
    return {
        series: number
        for series, number in known.issued.items()
        if series.startswith(prefix) and number > state.issued.get(series, 0)
    }


def highest_issued(database: ChannelDatabase) -> dict[str, int]:
    """The highest account number of the database's company, for the channel to remember."""
    rows = fetch(
        "SELECT company_id, next - 1 FROM number_sequence WHERE company_id = %s AND next > start",
        [database.channel.company_id],
    )
    return dict(rows)
