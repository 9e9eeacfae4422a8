"""Why the last visit to a channel database failed, as one of a fixed set of causes.

A database keeps the sentence of its last error with the code of the sentence; the cause follows
from the code and is not stored.
"""

from django.db import models

from stores.messages.message import Message, Sentence


class ErrorCause(models.TextChoices):
    ADDRESS = "address", "The address is refused"
    NAME_UNKNOWN = "name_unknown", "Unknown name of the server"
    CONNECTION_REFUSED = "connection_refused", "Connection refused"
    NO_ROUTE = "no_route", "No network leads to the server"
    TIMEOUT = "timeout", "Time-out"
    CERTIFICATE = "certificate", "No trusted TLS certificate"
    STARTING = "starting", "The server is starting or stopping"
    CONNECTIONS_USED_UP = "connections_used_up", "No connection is free"
    ACCESS_RULES = "access_rules", "The access rules do not let headquarters in"
    PASSWORD = "password", "User or password refused"
    DATABASE_MISSING = "database_missing", "No such database"
    FILE_MISSING = "file_missing", "File missing"
    FILE_DAMAGED = "file_damaged", "File damaged"
    DISK_FULL = "disk_full", "Disk full"
    READ_ONLY = "read_only", "Read-only"
    PRIVILEGES = "privileges", "Privileges missing"
    ENCODING = "encoding", "Wrong encoding"
    TABLES_MISSING = "tables_missing", "Tables missing"
    TABLES_CHANGED = "tables_changed", "Tables changed"
    VERSION = "version", "Tables of a newer version"
    BUSY = "busy", "Database busy"
    INCIDENT = "incident", "Not the database that headquarters left"
    OTHER = "other", "Another error"


# What the code of a sentence means. Any other code is OTHER.
CAUSES = {
    "address_refused": ErrorCause.ADDRESS,
    "any_channel_misconfigured": ErrorCause.ADDRESS,
    "channel_name_unknown": ErrorCause.NAME_UNKNOWN,
    "channel_nothing_listens": ErrorCause.CONNECTION_REFUSED,
    "channel_no_route": ErrorCause.NO_ROUTE,
    "channel_silent": ErrorCause.TIMEOUT,
    "channel_too_slow": ErrorCause.TIMEOUT,
    "channel_line_insecure": ErrorCause.CERTIFICATE,
    "channel_server_starting": ErrorCause.STARTING,
    "channel_too_many_connections": ErrorCause.CONNECTIONS_USED_UP,
    "channel_not_let_in": ErrorCause.ACCESS_RULES,
    "channel_database_closed": ErrorCause.ACCESS_RULES,
    "channel_password_refused": ErrorCause.PASSWORD,
    "channel_turned_away": ErrorCause.PASSWORD,
    "channel_database_gone": ErrorCause.DATABASE_MISSING,
    "channel_file_absent": ErrorCause.FILE_MISSING,
    "channel_file_gone": ErrorCause.FILE_MISSING,
    "channel_file_damaged": ErrorCause.FILE_DAMAGED,
    "channel_file_is_another": ErrorCause.FILE_DAMAGED,
    "channel_full": ErrorCause.DISK_FULL,
    "channel_read_only": ErrorCause.READ_ONLY,
    "channel_denies_privilege": ErrorCause.PRIVILEGES,
    "privileges_missing": ErrorCause.PRIVILEGES,
    "channel_encoding_lossy": ErrorCause.ENCODING,
    "channel_text_invalid": ErrorCause.ENCODING,
    "channel_unmigrated": ErrorCause.TABLES_MISSING,
    "channel_drifted": ErrorCause.TABLES_CHANGED,
    "channel_drifted_more": ErrorCause.TABLES_CHANGED,
    "table_of_another": ErrorCause.TABLES_CHANGED,
    "channel_newer": ErrorCause.VERSION,
    "channel_busy": ErrorCause.BUSY,
    "channel_blocked": ErrorCause.INCIDENT,
    "channel_reports": ErrorCause.INCIDENT,
    "channel_unreachable": ErrorCause.OTHER,
}
# What may be over at the next try; of the other causes only a person can mend the database.
PASSING = (
    ErrorCause.NAME_UNKNOWN,
    ErrorCause.CONNECTION_REFUSED,
    ErrorCause.NO_ROUTE,
    ErrorCause.TIMEOUT,
    ErrorCause.STARTING,
    ErrorCause.CONNECTIONS_USED_UP,
    ErrorCause.BUSY,
    ErrorCause.OTHER,
)


def cause_of(error: Message) -> ErrorCause | None:
    """The cause of a last error; None without one."""
    if not error:
        return None
    return CAUSES.get(error.sentences[0].code, ErrorCause.OTHER)


def tells_cause(sentence: Sentence) -> bool:
    """Whether a sentence says why a database could not be used, itself or with a parameter."""
    return sentence.code in CAUSES or any(
        tells_cause(inner)
        for value in sentence.parameters.values()
        for part in (value if isinstance(value, list | tuple) else [value])
        if isinstance(part, Message)
        for inner in part.sentences
    )
