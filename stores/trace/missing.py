"""Why a channel database does not have a customer: the missing step, and what helps."""

import shlex
from collections.abc import Iterator
from datetime import UTC

from stores.models import ChannelDatabase, DownloadException, DownloadSession
from stores.models.channel import Direction
from stores.models.package import ExceptionReason, listed_accounts
from stores.models.session import DownloadStatus
from stores.trace.distribution import Distribution
from stores.trace.types import Action, MissingCode, MissingStep

FAILED_DOWNLOADS = (
    DownloadStatus.CREATE_FAILED,
    DownloadStatus.DOWNLOAD_FAILED,
    DownloadStatus.APPLY_FAILED,
)
# The next download takes this step without anybody's help.
NEXT_STEPS = (MissingCode.NOT_PACKAGED, MissingCode.PACKAGE_WAITS)
OWN_COMPANY = "Channels know the customers of their own company only."
TRIES_AGAIN = "The next download tries again."


def missing_step(
    database: ChannelDatabase, distribution: Distribution, *, with_errors: bool = True
) -> MissingStep | None:
    """The first step that is missing, with all that stands in the way; None if none is missing.

    The customer has an account. Not everybody may see the last error of a channel.
    """
    obstacles = list(obstacles_to(database, distribution, with_errors=with_errors))
    if not obstacles:
        return None
    first = obstacles[0]
    return MissingStep(
        first.code,
        " ".join(obstacle.text for obstacle in obstacles),
        " ".join(dict.fromkeys(obstacle.next_step for obstacle in obstacles if obstacle.next_step)),
        first.action,
        first.target,
        first.command,
    )


def obstacles_to(
    database: ChannelDatabase, distribution: Distribution, *, with_errors: bool = True
) -> Iterator[MissingStep]:
    """Everything that keeps a customer from a database, in the order of its way there."""
    customer = distribution.customer
    if customer is None:
        return
    if database.channel.company_id != customer.company_id:
        yield MissingStep(
            MissingCode.OTHER_COMPANY,
            f"{database.label} belongs to {database.channel.company_id}, and the account to"
            f" {customer.company_id}.",
            OWN_COMPANY,
        )
    elif customer.change_no is None:
        yield MissingStep(
            MissingCode.NOT_SENT,
            "Headquarters sends this account, such as a default customer, to no channel.",
        )
    elif database.pk in distribution.left_out and (
        database.pk in distribution.lacking or database.pk not in distribution.held
    ):
        yield MissingStep(
            MissingCode.EXCLUDED,
            f"1010 sends {database.label} no customers: registers are excluded.",
            "An administrator can change that in the settings.",
        )
    elif database.pk not in distribution.lacking:
        if not customer.is_active:
            yield MissingStep(
                MissingCode.NOT_ACTIVE,
                f"{database.label} has the account, which is not active: tills do not find it.",
            )
    else:
        yield from obstacles_on_the_way(database, distribution, with_errors=with_errors)


def obstacles_on_the_way(
    database: ChannelDatabase, distribution: Distribution, *, with_errors: bool
) -> Iterator[MissingStep]:
    """What keeps a customer from a database that is to have it."""
    label, found = database.label, False
    for obstacle in (
        *setting_obstacles(database),
        *visit_obstacles(database, distribution, with_errors=with_errors),
        *refusals(database, distribution),
    ):
        found = True
        yield obstacle
    if found:
        return
    push = push_command(database, distribution)
    session = distribution.sessions.get(database.pk)
    if session is None:
        yield MissingStep(
            MissingCode.NOT_PACKAGED,
            f"No package for {label} contains its latest change yet.",
            "Run 1010, or wait for its schedule.",
            Action.PUSH,
            command=push,
        )
    elif session.status in FAILED_DOWNLOADS:
        yield MissingStep(
            MissingCode.PACKAGE_FAILED,
            f"Its package for {label} failed: {session.message}"
            if with_errors
            else f"Its package for {label} failed.",
            TRIES_AGAIN,
            Action.PUSH,
            str(session.pk),
            push,
        )
    else:
        status = str(DownloadStatus(session.status).label).lower()
        yield MissingStep(
            MissingCode.PACKAGE_WAITS,
            f"Its package waits for the next download to {label} ({status})."
            f" {session.message}".strip(),
            "Run 1010, or wait for its schedule.",
            Action.PUSH,
            str(session.pk),
            push,
        )


def setting_obstacles(database: ChannelDatabase) -> Iterator[MissingStep]:
    """What people have set: that the database is not visited, or not sent anything for a while."""
    label, channel = database.label, database.channel
    if channel.is_archived:
        yield MissingStep(
            MissingCode.ARCHIVED,
            f"{channel.code} is archived: {as_sentence(channel.archive_reason)}",
            "If it is in use again, bring it back.",
            command=f"channels restore {channel.code}",
        )
    elif not database.is_visited:
        yield MissingStep(
            MissingCode.SWITCHED_OFF,
            f"{label} is switched off: jobs skip it.",
            "An administrator can switch it on in the settings.",
        )
    if database.downloads_paused:
        yield MissingStep(
            MissingCode.PAUSED,
            f"Downloads to {label} are paused: {as_sentence(database.downloads_pause_reason)}",
            "Resume the downloads when the reason is gone.",
            Action.RESUME,
            command=f"channels resume {shlex.quote(label)} --direction {Direction.DOWNLOAD}",
        )


def visit_obstacles(
    database: ChannelDatabase, distribution: Distribution, *, with_errors: bool
) -> Iterator[MissingStep]:
    """Why the database cannot be visited."""
    label = database.label
    if incident := distribution.incidents.get(database.pk):
        yield MissingStep(
            MissingCode.BLOCKED,
            f"{label} is not visited until incident {incident} is closed.",
            "Open the incident: it says what to do.",
            Action.INCIDENT,
            str(incident),
        )
    elif database.last_error:
        error = str(database.last_error) if with_errors else f"Visits to {label} fail."
        visited_at = database.last_visited_at
        since = f" since {visited_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if visited_at else " yet"
        yield MissingStep(
            MissingCode.AWAY,
            f"{error} No visit has succeeded{since}.",
            "Check the channel; 1010 then delivers automatically.",
            Action.PUSH,
            command=push_command(database, distribution),
        )


def refusals(database: ChannelDatabase, distribution: Distribution) -> Iterator[MissingStep]:
    """What the database refuses: this customer, or one for whom the others wait."""
    label = database.label
    exception = distribution.exceptions.get(database.pk)
    suspended = distribution.suspended.get(database.pk)
    is_refused = exception is not None and exception.reason == ExceptionReason.REFUSED
    if exception and is_refused:
        yield MissingStep(
            MissingCode.REFUSED,
            f"{label} refuses this customer ({exception.message}).",
            "Correct what it refuses"
            + ("." if suspended else "; each download tries the customer again."),
            Action.SESSION if suspended else Action.PUSH,
            str(suspended.pk) if suspended else None,
            "" if suspended else push_command(database, distribution),
        )
    elif exception and exception.reason == ExceptionReason.NOT_ARRIVED:
        yield MissingStep(
            MissingCode.LOST,
            f"{label} was sent this customer, and does not have it.",
            TRIES_AGAIN,
            Action.PUSH,
            command=push_command(database, distribution),
        )
    if suspended:
        yield suspension(database, suspended, is_refused=is_refused)
    elif not is_refused and not database.downloads_paused and (names := refused_names(database)):
        yield MissingStep(
            MissingCode.SUSPENDED,
            f"{label} refuses {names}; in strict order, the others wait.",
            "Correct what it refuses; each download tries again.",
        )


def suspension(
    database: ChannelDatabase, session: DownloadSession, *, is_refused: bool
) -> MissingStep:
    whom = "" if is_refused else f" since it refused {refused_names(database) or 'some customers'}"
    return MissingStep(
        MissingCode.SUSPENDED,
        f"Downloads to {database.label} are suspended{whom}.",
        "Open the download session and choose Send again or Cancel.",
        Action.SESSION,
        str(session.pk),
        f"downloads rerun {session.pk}",
    )


def refused_names(database: ChannelDatabase) -> str:
    """The accounts of the customers for whom, in strict order, later packages wait."""
    if not database.strict_order:
        return ""
    refused = DownloadException.objects.holding_up().filter(database=database)
    return str(listed_accounts(refused))


def push_command(database: ChannelDatabase, distribution: Distribution) -> str:
    return shlex.join(["downloads", "push", database.label, str(distribution.customer)])


def as_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
