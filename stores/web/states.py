"""The looks of states on pages: word, colour and icon."""

from dataclasses import dataclass

from stores.models.job import StepCode


@dataclass(frozen=True)
class Look:
    """Colour and icon of a state; its word is always shown beside them."""

    colour: str
    icon: str


GOOD = Look("success", "check-circle-fill")
BUSY = Look("primary", "arrow-repeat")
WAITING = Look("info", "hourglass-split")
WARNING = Look("warning", "exclamation-triangle-fill")
BAD = Look("danger", "x-circle-fill")
QUIET = Look("secondary", "dash-circle")

LOOKS = {
    # Runs and their steps.
    "queued": Look("secondary", "hourglass-split"),
    "running": BUSY,
    "succeeded": GOOD,
    "nothing_to_do": Look("success", "check2"),
    "partly": WARNING,
    "failed": BAD,
    "busy": WARNING,
    "cancelled": QUIET,
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
    "pending_upload": WAITING,
    "not_synchronized": WAITING,
    "waiting": Look("warning", "hourglass-split"),
    "duplicate_review": Look("warning", "people"),
    "synchronized": Look("success", "person-check"),
    "distributed": GOOD,
    "erased": QUIET,
    # Quarantined rows.
    "open": WARNING,
    "closed": GOOD,
    "released": GOOD,
    "dismissed": QUIET,
    "superseded": QUIET,
    # Customers and channels.
    "active": GOOD,
    "inactive": QUIET,
    "expired": QUIET,
    "revoked": Look("secondary", "slash-circle"),
    "blocked": BAD,
    "pending": WAITING,
    "delivered": GOOD,
    "on": GOOD,
    "off": Look("secondary", "slash-circle"),
    "archived": Look("secondary", "inbox"),
    "never": QUIET,
    # How channels are served, and schedules.
    "on_time": GOOD,
    "delayed": Look("info", "hourglass-split"),
    "late": WARNING,
    "needs_you": Look("danger", "person"),
    "paused": Look("warning", "pause-circle"),
    "over": QUIET,
    # Sales, orders and statements; an order on hold waits for a person.
    "none": QUIET,
    "successful": GOOD,
    "editing": Look("warning", "pause-circle"),
    "waiting_order": WAITING,
    "on_hold": Look("warning", "pause-circle"),
    "invoiced": GOOD,
    "marked": WAITING,
    "calculated": WAITING,
    "checked": WAITING,
    "aggregated": WAITING,
    "orders_created": WAITING,
    "payments_posted": WAITING,
    "posted": GOOD,
    # Promises.
    "held": GOOD,
    "broken": BAD,
}


def step_word(code: str) -> str:
    return str(StepCode(code).label) if code in StepCode else code


# What happened to a customer, as stores.trace tells it: word and icon.
EVENT_LOOKS = {
    "captured": ("Captured", "pencil"),
    "pending_upload": ("Not uploaded yet", "hourglass-split"),
    "uploaded": ("Uploaded", "cloud-upload"),
    "quarantined": ("Quarantined", "shield-exclamation"),
    "created": ("Created", "person-vcard"),
    "converted": ("Converted", "person-check"),
    "linked": ("Linked", "people"),
    "added": ("Added", "person-vcard"),
    "edited": ("Edited", "pencil"),
    "removed": ("Removed", "dash-circle"),
    "superseded": ("Superseded", "slash-circle"),
    "conflict": ("Edit conflict", "signpost-split"),
    "decided": ("Resolved", "check2"),
    "erased": ("Erased", "slash-circle"),
    "failed": ("Failed", "x-circle-fill"),
    "waiting": ("Waiting", "hourglass-split"),
    "delivered": ("Delivered", "check-circle-fill"),
    "unreachable": ("Unreachable", "cloud-slash"),
}


def event_word(kind: str) -> str:
    return EVENT_LOOKS[kind][0] if kind in EVENT_LOOKS else kind.replace("_", " ").capitalize()


def event_icon(kind: str) -> str:
    return EVENT_LOOKS[kind][1] if kind in EVENT_LOOKS else "circle"


def order_look(state: str) -> str:
    """The look of a sales order: an open one is on its way, and no row of quarantine."""
    return "waiting_order" if state == "open" else state
