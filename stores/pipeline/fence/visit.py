"""The only way into a channel database: enter it, take its fence, and write through the fence.

A *visit* is one connection of HQ to a channel database. Its *token* is an epoch, which only grows,
and a random nonce. HQ and the channel both remember the token of the latest visit that wrote, and
compare them when the next one begins. A database that was restored, copied or exchanged shows
another token than HQ expects, as does one that a second HQ has visited.

A visit that only reads writes nothing. Before its first write it takes the *fence*, in three steps
that may each be the last: HQ commits the token that it intends to leave, the channel replaces its
token by that one, and HQ confirms it. From then on the channel refuses every write that does not
give the nonce. Source: reliability 3.7, ADR 0009.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar
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
from stores.messages.message import Message
from stores.models import ChannelDatabase, RunStep
from stores.models.incident import BLOCKS_DATABASE, IncidentKind
from stores.pipeline.fence.decision import KnownState, find_mismatch
from stores.pipeline.fence.incidents import (
    accept_first_contact,
    handle_mismatch,
    report_contradiction,
)
from stores.pipeline.fence.schema_drift import open_visit

Result = TypeVar("Result")
# A transaction of HQ. It fails if another worker does the step by now.
Chunk = Callable[[], AbstractContextManager[None]]


@contextmanager
def enter(step: RunStep) -> Iterator["FencedChannel"]:
    """Open the step's channel database, if it is as HQ left it.

    Effects: if it is not, an incident and its consequences, committed at once. Raises
    ChannelBlocked with a sentence for people, and the errors of open_visit().
    """
    known = read_known_state(step.its_database)
    step.has_entered = True
    if known.blocked_by:
        raise ChannelBlocked(
            Message("channel_blocked", channel=step.place, incident=str(known.blocked_by))
        )
    with open_visit(step.its_database) as channel:
        fenced = FencedChannel(channel, step.its_database, step.chunk)
        fenced.check_identity(known)
        yield fenced


def read_known_state(database: ChannelDatabase) -> KnownState:
    """Read what HQ knows of the database, as of one moment."""
    return KnownState(
        *fetch_one(
            # The columns are in the order of the fields of KnownState.
            """SELECT known.database_id, known.generation, known.confirmed_epoch,
                      known.confirmed_nonce, known.intended_epoch, known.intended_nonce,
                      (SELECT coalesce(json_object_agg(company_id, next - 1), '{}')
                         FROM number_sequence) AS account_high,
                      known.staged::json AS counters,
                      (SELECT coalesce(json_object_agg(company || '/' || series, number), '{}')
                         FROM issued_document WHERE number > 0) AS issued,
                      (SELECT min(incident.id) FROM incident
                        WHERE incident.database_id = known.id AND incident.closed_at IS NULL
                          AND incident.kind = ANY(%s)) AS blocked_by,
                      known.recognised_start IS DISTINCT FROM pg_postmaster_start_time()
                      OR EXISTS (SELECT FROM incident
                                  WHERE kind = %s AND closed_at IS NULL) AS is_unrecognised,
                      (SELECT coalesce(json_object_agg(code, change_no), '{}')
                         FROM company) AS positions
                 FROM channel_database known WHERE known.id = %s""",
            [[kind.value for kind in BLOCKS_DATABASE], IncidentKind.HQ_MOVED.value, database.pk],
        )
    )


class FencedChannel:
    """An open channel database, whose writes are guarded by the fence.

    An upload and a download may visit the same database at the same time. Each takes the fence to
    write, is refused while the other one has it, and then takes it back. Taking it needs a chunk,
    so a worker that was stopped cannot do so once another worker does its step.
    """

    def __init__(self, channel: Visit, database: ChannelDatabase, chunk: Chunk) -> None:
        self.channel, self.database, self.chunk = channel, database, chunk
        self.company: str = database.channel.company_id
        # The number of the last change up to which the channel has all changes.
        self.position = 0
        # The token in the channel, as far as this visit knows.
        self.latest: VisitToken | None = None
        # The nonce with which this visit may write. None: it does not have the fence.
        self.nonce: UUID | None = None
        # The last numbers of orders and invoices, where the channel does not know them yet.
        self.untold: dict[str, int] = {}

    # ------------------------------------------------------- check that it is as HQ left it

    def check_identity(self, known: KnownState) -> VisitToken:
        """Compare what HQ and the channel know of each other. Returns the channel's token.

        Effects: what a mismatch entails, committed. Raises ChannelBlocked.
        """
        state = self.channel.state()
        if state is None or not known.is_known or find_mismatch(known, state):
            # Another visit may have written between the two looks. It cannot while a lock is held.
            known, state = self.check_identity_under_lock()
        else:
            self.untold = unreported_numbers(self.database, known, state)
        self.database.generation = known.generation
        self.latest = state.token
        self.position = state.positions.get(self.company, 0)
        if known.is_unrecognised:
            run_sql(
                "UPDATE channel_database SET fenced_at = now(), "
                "recognised_start = pg_postmaster_start_time() WHERE id = %s",
                [self.database.pk],
            )
        return state.token

    def check_identity_under_lock(self) -> tuple[KnownState, ChannelState]:
        """Compare again while no other visit can write, and handle a mismatch."""
        database = self.database
        with transaction.atomic():
            ChannelDatabase.objects.select_for_update().get(pk=database.pk)
            state, known = self.channel.state(), read_known_state(database)
            if state is None or (known.is_known and find_mismatch(known, state)):
                message = handle_mismatch(database, known, state, self.channel)
            elif known.is_known:
                message = None
            else:
                message = accept_first_contact(database, known, state)
        if message or state is None:
            raise ChannelBlocked(message)
        return read_known_state(database), state

    # ---------------------------------------------------------------- take the fence

    def acquire(self) -> UUID:
        """Take the fence. Returns the nonce with which this visit may write.

        An upload does so before it stages what it has read. So every copy of the channel with the
        confirmed token contains whatever HQ has staged. Raises ChannelBlocked, and the errors of a
        chunk.
        """
        while True:
            token = self.intend()
            channel_token = self.check_identity(read_known_state(self.database))
            if channel_token != token and self.channel.fence(channel_token, token):
                self.confirm_written(token)
                self.nonce = token.nonce
                return token.nonce

    def intend(self) -> VisitToken:
        """Commit the token that the channel is to have next, and return it."""
        while True:
            token = self.note_intention()
            latest = self.latest or self.check_identity(read_known_state(self.database))
            if token != latest:
                return token
            # Another visit has left it in the channel already.
            self.confirm(token)

    def note_intention(self) -> VisitToken:
        """Return the intended token: that of a visit that has not confirmed it, or a new one."""
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
        """Note that the channel has the token, unless another visit has noted it already."""
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

    # --------------------------------------------------------------- read and write

    def read_events(
        self, sources: Sequence[EventTable], *, limit: int, beyond: dict[str, int]
    ) -> list[EventBatch]:
        return self.channel.read_events(sources, limit=limit, beyond=beyond)

    def acknowledge(self, events: Sequence[EventBatch]) -> dict[str, int]:
        """Do as Visit.acknowledge(). Raises also the errors of acquire()."""
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
        """Do as Visit.apply(). Each part leaves a token of its own. Raises also ChannelBlocked."""
        apply = partial(self.channel.apply, tables, session=session, part=part, job=job, move=move)
        high = highest_issued(self.database)
        while True:
            token = self.intend()
            latest = self.latest or self.check_identity(read_known_state(self.database))
            try:
                rows = apply(nonce=latest.nonce, following=token, high=high)
            except NonceRefused:
                self.latest = None
            except Contradiction as contradiction:
                message = report_contradiction(self.database, contradiction)
                raise ChannelBlocked(message) from None
            else:
                self.position = move.to if move else self.position
                self.confirm_written(token)
                return rows

    def reopen(self, table: str, counters: Sequence[int]) -> int:
        """Do as Visit.reopen(). Raises also the errors of acquire()."""
        return self.write(partial(self.channel.reopen, table, counters))

    def read_settings(self, keys: Sequence[str]) -> dict[str, Any]:
        return self.channel.read_settings(keys)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Do as Visit.write_settings(). Raises also the errors of acquire()."""
        self.write(partial(self.channel.write_settings, settings))

    def write_issued(self) -> None:
        """Write the last numbers of orders and invoices into the channel, if it lacks them.

        They are evidence of what was issued if HQ and its journal are restored from old backups.
        Raises the errors of acquire().
        """
        if self.untold:
            self.write(partial(self.channel.note_issued, self.untold))
            self.untold = {}

    def write(self, verb: Callable[..., Result]) -> Result:
        """Do one write under the fence, and take the fence again if another visit has it."""
        while True:
            self.nonce = self.nonce or self.acquire()
            try:
                return verb(nonce=self.nonce)
            except NonceRefused:
                self.nonce = self.latest = None


def unreported_numbers(
    database: ChannelDatabase, known: KnownState, state: ChannelState
) -> dict[str, int]:
    """Return the last number of each series of the company that the channel does not know."""
    prefix = f"{database.channel.company_id}/"
    return {
        series: number
        for series, number in known.issued.items()
        if series.startswith(prefix) and number > state.issued.get(series, 0)
    }


def highest_issued(database: ChannelDatabase) -> dict[str, int]:
    """Return the highest account number of the company, by its code."""
    rows = fetch(
        "SELECT company_id, next - 1 FROM number_sequence WHERE company_id = %s AND next > start",
        [database.channel.company_id],
    )
    return dict(rows)
