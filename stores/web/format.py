"""Formats of values on pages: times, numbers, amounts and names."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms, template
from django.forms.boundfield import BoundField
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from stores.jobs.catalog import JOBS, Job
from stores.messages.labels import counted, duration_words, label
from stores.messages.reasons import REASONS, explain
from stores.models import DayBalance
from stores.models.balance import BALANCE_PARTS
from stores.models.cards import mask_cards
from stores.roles import who_may
from stores.web.counts import MAX_COUNTED, Length

EMPTY_VALUE = "\u2013"


def ago(moment: datetime | None) -> str:
    """The time since a moment in one unit, such as "3 h ago"; after a month its date."""
    if moment is None:
        return ""
    passed = timezone.now() - moment
    if passed > timedelta(days=30):
        return f"{moment:%Y-%m-%d}"
    return "just now" if passed < timedelta(seconds=5) else f"{duration_words(passed)} ago"


def lag_words(lag: timedelta | None) -> str:
    """A lag of less than a minute is not worth its seconds, which pass while one reads."""
    if lag is None:
        return EMPTY_VALUE
    return "under 1 min" if lag < timedelta(minutes=1) else duration_words(lag)


def clock(moment: datetime) -> str:
    """Day and time by the clock of the moment's own time zone: Tue 2026-12-01 22:30 CST."""
    return f"{moment:%a %Y-%m-%d %H:%M %Z}"


def took(seconds: float | None) -> str:
    if seconds is None:
        return EMPTY_VALUE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def part(row: DayBalance, name: str) -> dict[str, Any]:
    """A number of the balance, linked to the list of the rows behind it."""
    count = getattr(row, name)
    return {"count": count, "url": part_url(row, name) if count else ""}


def captured(rows: DayBalance | Sequence[DayBalance], css: str = "") -> dict[str, Any]:
    """The number of captured rows of one or more balances, and where these are now.

    A number of a single balance is linked to the list of the rows behind it.
    """
    balances = [rows] if isinstance(rows, DayBalance) else rows
    counts = {name: sum(getattr(row, name) for row in balances) for name in BALANCE_PARTS}
    parts = [
        {
            "words": f"{count:,}\u00a0{PART_WORDS.get(name, name)}",
            "url": part_url(balances[0], name) if len(balances) == 1 else "",
        }
        for name, count in counts.items()
        if count
    ]
    return {"count": sum(row.captured for row in balances), "parts": parts, "css": css}


def part_url(row: DayBalance, name: str) -> str:
    """The URL of the list of the rows behind a number of the balance, if there is such a list."""
    query = {"channel": row.database.channel.code, "since": row.day, "until": row.day}
    if name == "quarantined":
        return reverse("quarantine", query=query | {"table": row.table})
    if row.table == "async_customer" and name in STATE_OF_PART:
        return reverse("async-customers", query=query | {"state": STATE_OF_PART[name]})
    return ""


PART_WORDS = {"quarantined": "in quarantine"}

STATE_OF_PART = {
    "converted": "converted",
    "linked": "linked",
    "waiting": "pending",
    "failed": "failed",
    "erased": "erased",
}


def signed(value: int) -> str:
    """A difference: missing rows with a minus, rows too many with a plus."""
    return f"\u2212{value:,}" if value > 0 else f"+{-value:,}"


def rows_word(table: str) -> str:
    """The name of a table of events on pages."""
    return DOCUMENT_WORDS.get(table) or table.removeprefix("async_").capitalize()


DOCUMENT_WORDS = {
    "retail_transaction": "Sales and orders",
    "retail_transaction_line": "Lines",
    "retail_transaction_payment": "Payments",
}


def number(value: float | None) -> str:
    return EMPTY_VALUE if value is None else f"{value:,}"


def length_words(rows: Length) -> str:
    """The length of a list, such as "More than 10,000 rows"."""
    if not rows.is_exact:
        # A guess, with the two digits it deserves.
        return f"About {int(float(f'{rows.count:.1e}')):,} rows"
    if rows.count > MAX_COUNTED:
        return f"More than {MAX_COUNTED:,} rows"
    return counted(rows.count, "row")


def breaks_at_sign(email: str) -> SafeString:
    """An e-mail address that may be broken into two lines before its @."""
    name, at, host = email.rpartition("@")
    return format_html("<bdi>{}<wbr>{}{}</bdi>", name, at, host)


def capped(value: int) -> str:
    """A count that stops at a limit."""
    return f"{MAX_COUNTED:,}+" if value > MAX_COUNTED else f"{value:,}"


def control(field: BoundField) -> SafeString:
    """A form field with Bootstrap's classes, linked to its error message."""
    widget = field.field.widget
    look = "form-select" if isinstance(widget, forms.Select) else "form-control"
    look = "form-check-input d-block" if isinstance(widget, forms.CheckboxInput) else look
    attrs: dict[str, str | bool] = {"class": look}
    if field.errors or "aria-invalid" in widget.attrs:
        attrs["class"] = f"{look} is-invalid"
    if field.errors:
        hint = f" {field.auto_id}_helptext" if field.help_text else ""
        attrs["aria-describedby"] = f"{field.auto_id}_error{hint}"
    return field.as_widget(attrs=attrs)


def size(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def masked(value: Any) -> Any:
    """A text of a till without the numbers of payment cards; other values as they are."""
    return mask_cards(value) if isinstance(value, str) else value


def because(row: Any) -> str:
    """The sentence for the reason of a row, which names the field but never its value."""
    return explain(row.reason, row.field) if row.reason else ""


def amount(value: Decimal | None) -> str:
    """An exact amount, with the places of the smallest unit at least."""
    if value is None:
        return EMPTY_VALUE
    text = f"{value:,.4f}".rstrip("0")
    whole, _, places = text.partition(".")
    return f"{whole}.{places:0<2}"


def money(value: Decimal | None, currency: str | None) -> str:
    return f"{amount(value)} {currency}" if value is not None and currency else amount(value)


def quantity(value: Decimal | None) -> str:
    """A quantity without trailing zeros."""
    return EMPTY_VALUE if value is None else f"{value.normalize():,f}"


def figure(text: str) -> str:
    """A text as an amount; a text that is no number stays as it is."""
    try:
        return amount(Decimal(text))
    except InvalidOperation:
        return text or EMPTY_VALUE


def reason_words(code: str, field: str = "") -> str:
    return explain(code, label(field) if field else "")


def may_start(user: Any, code: str) -> bool:
    return bool(user.has_perms(JOBS[code].permissions))


def may_start_any(user: Any) -> bool:
    """Whether the user may start at least one job."""
    return any(may_start(user, code) for code in JOBS)


def who_may_start(job: Job) -> str:
    return f"You do not have permission to start it. {who_may(*job.permissions)}"


def next_step(context: template.Context, reason: str | None, otherwise: str = "") -> str:
    """The user's next step for a reason; `otherwise` if the reason is not a known one."""
    known = REASONS.get(reason or "")
    return known.advice(context["user"].has_perm) if known else otherwise
