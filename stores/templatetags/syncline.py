"""How a state, a time or a number looks on a page."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms, template
from django.forms.boundfield import BoundField
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from stores.filters import MOST_COUNTED, Length
from stores.jobs.catalog import JOBS, Job
from stores.models import DayBalance
from stores.models.cards import mask_cards
from stores.models.labels import label
from stores.models.reason import REASONS, explain
from stores.models.run import COLOURS, Outcome
from stores.roles import who_may
from stores.tables import NOTHING
from stores.tables import name_of as name_of_record

register = template.Library()


@dataclass(frozen=True)
class Look:
    """Colour and icon of a state; its word is always shown beside them."""

    colour: str
    icon: str


GOOD = Look("success", "check-circle-fill")
BUSY = Look("primary", "arrow-repeat")
WAITS = Look("info", "hourglass-split")
CAREFUL = Look("warning", "exclamation-triangle-fill")
BAD = Look("danger", "x-circle-fill")
QUIET = Look("secondary", "dash-circle")

LOOKS = {
    # Runs and their steps; the colours are those of stores.models.run.
    "queued": WAITS,
    "running": BUSY,
    "succeeded": GOOD,
    "nothing_to_do": Look("success", "check2"),
    "partly": CAREFUL,
    "failed": BAD,
    "busy": CAREFUL,
    "cancelled": QUIET,
    "lost": BAD,
    # Upload and download sessions.
    "started": BUSY,
    "available": BUSY,
    "uploaded": BUSY,
    "requested": BUSY,
    "downloaded": BUSY,
    "applied": GOOD,
    "canceled": QUIET,
    "upload_failed": BAD,
    "apply_failed": BAD,
    "create_failed": BAD,
    "download_failed": BAD,
    "no_data": QUIET,
    "suspended": Look("warning", "pause-circle"),
    # Async customers.
    "pending_upload": WAITS,
    "not_synchronized": WAITS,
    "waiting": Look("warning", "hourglass-split"),
    "duplicate_review": Look("warning", "people"),
    "synchronized": Look("success", "person-check"),
    "distributed": GOOD,
    "erased": QUIET,
    # Quarantined rows.
    "open": CAREFUL,
    "closed": GOOD,
    "released": GOOD,
    "dismissed": QUIET,
    "superseded": QUIET,
    # Customers and channels.
    "active": GOOD,
    "inactive": QUIET,
    "blocked": BAD,
    "owed": WAITS,
    "delivered": GOOD,
    "on": GOOD,
    "off": Look("secondary", "slash-circle"),
    "error": BAD,
    "never": QUIET,
    # Sales, orders and statements; an order on hold waits for a person.
    "none": QUIET,
    "successful": GOOD,
    "editing": Look("warning", "pause-circle"),
    "waiting_order": WAITS,
    "on_hold": Look("warning", "pause-circle"),
    "invoiced": GOOD,
    "marked": WAITS,
    "calculated": WAITS,
    "checked": WAITS,
    "aggregated": WAITS,
    "orders_created": WAITS,
    "payments_posted": WAITS,
    "posted": GOOD,
    # Promises.
    "held": GOOD,
    "broken": BAD,
}
LOOKS |= {code: Look(colour, LOOKS[code].icon) for code, colour in COLOURS.items()}


@register.inclusion_tag("_badge.html")
def badge(code: str, word: str = "") -> dict[str, Any]:
    """A state as word, icon and colour."""
    look = LOOKS.get(code, QUIET)
    return {
        "word": word or code.replace("_", " ").capitalize(),
        "colour": look.colour,
        "icon": look.icon,
        "spins": code == "running",
    }


@register.inclusion_tag("_badge.html")
def outcome(row: Outcome) -> dict[str, Any]:
    """How a run or a step went, with what failed in it."""
    return badge(row.status, row.verdict) | {"colour": row.colour}


@register.inclusion_tag("_icon.html")
def icon(name: str, css: str = "") -> dict[str, str]:
    """A decoration: whatever it says must be said in words, too."""
    return {"name": name, "css": css}


@register.inclusion_tag("_when.html")
def when(moment: datetime | None, otherwise: str = NOTHING) -> dict[str, Any]:
    """How long ago, with the exact time at hand."""
    return {"moment": moment, "age": ago(moment), "otherwise": otherwise}


@register.inclusion_tag("_guid.html")
def guid(value: object, copy: bool = False) -> dict[str, Any]:
    """A GUID that takes little room and is marked and copied in full."""
    return {"value": str(value) if value else "", "copy": copy}


@register.inclusion_tag("_command.html")
def command(words: str) -> dict[str, str]:
    """The command that does what a button does."""
    return {"command": f"python3 manage.py {words}"}


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago a moment was, in one unit; beyond a month its date."""
    if moment is None:
        return ""
    seconds = (timezone.now() - moment).total_seconds()
    if seconds > 30 * 86_400:
        return f"{moment:%Y-%m-%d}"
    return "just now" if seconds < 5 else f"{age(seconds)} ago"


@register.filter
def age(seconds: float | None) -> str:
    """A length of time, in the largest unit that fits."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


@register.filter
def took(seconds: float | None) -> str:
    """How long a run or step took."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.inclusion_tag("_part.html")
def part(row: DayBalance, name: str) -> dict[str, Any]:
    """A number of the balance, with the list of the rows behind it where there is one."""
    count, url = getattr(row, name), ""
    wanted = {"channel": row.database.channel.code, "since": str(row.day), "until": str(row.day)}
    if name == "quarantined":
        url = f"{reverse('quarantine')}?{urlencode(wanted | {'table': row.table})}"
    elif row.table == "async_customer" and name in STATE_OF_PART:
        url = f"{reverse('async-customers')}?{urlencode(wanted | {'state': STATE_OF_PART[name]})}"
    return {"count": count, "url": url if count else "", "name": name}


STATE_OF_PART = {
    "converted": "converted",
    "linked": "linked",
    "waiting": "pending",
    "failed": "failed",
    "erased": "erased",
}


@register.filter
def signed(value: int) -> str:
    """A difference: missing rows with a minus, rows too many with a plus."""
    return f"\u2212{value:,}" if value > 0 else f"+{-value:,}"


@register.filter
def rows_word(table: str) -> str:
    """What a table of events holds, for people."""
    return PART_WORDS.get(table) or table.removeprefix("async_").capitalize()


PART_WORDS = {
    "retail_transaction": "Sales and orders",
    "retail_transaction_line": "Lines",
    "retail_transaction_payment": "Payments",
}


@register.filter
def number(value: float | None) -> str:
    """A number with thousands apart."""
    return NOTHING if value is None else f"{value:,}"


@register.filter
def length_words(rows: Length) -> str:
    """How long a list is, as far as it was worth counting."""
    if not rows.is_exact:
        return f"About {rough(rows.count):,} rows"
    if rows.count > MOST_COUNTED:
        return f"More than {MOST_COUNTED:,} rows"
    return f"{rows.count:,} row{'' if rows.count == 1 else 's'}"


def rough(value: int) -> int:
    """A guess with the digits it deserves."""
    return int(float(f"{value:.1e}"))


@register.filter
def breaks_at_sign(email: str) -> SafeString:
    """An e-mail address that goes on in the next line before its @, if it must."""
    name, at, host = email.rpartition("@")
    return format_html("{}<wbr>{}{}", name, at, host)


@register.filter
def capped(value: int) -> str:
    """A count that stops at a limit."""
    return f"{MOST_COUNTED:,}+" if value > MOST_COUNTED else f"{value:,}"


@register.filter
def control(field: BoundField) -> SafeString:
    """A form field in Bootstrap's dress, tied to its error."""
    widget = field.field.widget
    look = "form-select" if isinstance(widget, forms.Select) else "form-control"
    look = "form-check-input d-block" if isinstance(widget, forms.CheckboxInput) else look
    attrs: dict[str, str | bool] = {"class": look}
    if field.errors:
        attrs["class"] = f"{look} is-invalid"
        attrs["aria-describedby"] = f"{field.auto_id}_error"
    return field.as_widget(attrs=attrs)


@register.filter
def size(value: float) -> str:
    """A number of bytes, in the largest unit that fits."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


@register.filter
def step_word(code: str) -> str:
    """What a step of the ring is called on pages."""
    return {
        "upload": "Upload",
        "convert": "Give account numbers",
        "download": "Hand out accounts",
        "orders": "Make sales orders",
        "validate": "Validate sales",
        "calculate": "Calculate statements",
        "post": "Post statements",
    }.get(code, code)


# What happened to a customer, as stores.trace tells it: word and icon.
EVENTS = {
    "captured": ("Captured", "pencil"),
    "pending_upload": ("Not uploaded yet", "hourglass-split"),
    "uploaded": ("Uploaded", "cloud-upload"),
    "quarantined": ("Set aside", "shield-exclamation"),
    "created": ("Created", "person-vcard"),
    "converted": ("Converted", "person-check"),
    "linked": ("Linked", "people"),
    "added": ("Added", "person-vcard"),
    "edited": ("Edited", "pencil"),
    "removed": ("Removed", "dash-circle"),
    "superseded": ("Superseded", "slash-circle"),
    "conflict": ("Edit conflict", "signpost-split"),
    "decided": ("Decided", "check2"),
    "erased": ("Erased", "slash-circle"),
    "failed": ("Failed", "x-circle-fill"),
    "waiting": ("Waiting", "hourglass-split"),
    "delivered": ("Delivered", "check-circle-fill"),
    "unreachable": ("Unreachable", "cloud-slash"),
}


@register.filter
def event_word(kind: str) -> str:
    """The word for what happened."""
    return EVENTS[kind][0] if kind in EVENTS else kind.replace("_", " ").capitalize()


@register.filter
def event_icon(kind: str) -> str:
    """The icon for what happened."""
    return EVENTS[kind][1] if kind in EVENTS else "circle"


@register.filter
def masked(value: Any) -> Any:
    """A text of a till without the numbers of payment cards; other values as they are."""
    return mask_cards(value) if isinstance(value, str) else value


@register.filter
def name_of(record: Any) -> str:
    """The name of a customer, as lists show it."""
    return name_of_record(record)


@register.filter
def because(row: Any) -> str:
    """The sentence for the reason of a row, which names the field but never its value."""
    return explain(row.reason, row.field) if row.reason else ""


@register.filter
def amount(value: Decimal | None) -> str:
    """An exact amount, with the places of the smallest unit at least."""
    if value is None:
        return NOTHING
    text = f"{value:,.4f}".rstrip("0")
    whole, _, places = text.partition(".")
    return f"{whole}.{places:0<2}"


@register.filter
def quantity(value: Decimal | None) -> str:
    """How many pieces, without places that say nothing."""
    return NOTHING if value is None else f"{value.normalize():,f}"


@register.filter
def figure(text: str) -> str:
    """An amount that is kept as text, or the text itself."""
    try:
        return amount(Decimal(text))
    except InvalidOperation:
        return text or NOTHING


@register.filter
def order_look(state: str) -> str:
    """The look of a sales order: an open one is on its way, and no row of quarantine."""
    return "waiting_order" if state == "open" else state


@register.filter
def reason_words(code: str, field: str = "") -> str:
    """The sentence for a reason and the field it is about."""
    return explain(code, label(field) if field else "")


@register.filter
def may_start(user: Any, code: str) -> bool:
    """Whether the user may start the job of this code."""
    return bool(user.has_perms(JOBS[code].rights))


@register.filter
def who_may_start(job: Job) -> str:
    """The groups whose users may start a job, in a sentence."""
    return f"Your user may not start it. {who_may(*job.rights)}"


@register.simple_tag(takes_context=True)
def next_step(context: template.Context, reason: str | None, otherwise: str = "") -> str:
    """What the user can do about a reason; `otherwise` is for what is none."""
    known = REASONS.get(reason or "")
    return known.advice(context["user"].has_perm) if known else otherwise
