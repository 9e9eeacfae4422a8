"""Named places between two commits, at which a test lets a process die.

Each commit that moves a row on has one, before and after it. In a real installation nothing is
armed and a point does nothing; only a test arms one, in the process that is to die.
"""

from collections.abc import Callable

PIPELINE_FAILPOINTS = (
    "run:before_enqueue",
    "run:before_end",
    "step:after_claim",
    "step:before_outcome",
    "step:after_outcome",
    "step:before_takeover",
    "step:after_takeover",
    "fence:after_intention",
    "fence:after_channel",
    "fence:before_confirmation",
    "fence:after_confirmation",
    "upload:before_hq_commit",
    "upload:after_hq_commit",
    "upload:before_acknowledge",
    "upload:after_acknowledge",
    "convert:before_commit",
    "convert:after_commit",
    "journal:before_append",
    "journal:before_commit",
    "journal:after_commit",
    "convert:before_last_commit",
    "download:after_start",
    "download:before_package",
    "download:after_package",
    "download:after_request",
    "download:after_downloaded",
    "download:before_channel_commit",
    "download:after_channel_commit",
    "download:before_delivered",
    "download:after_delivered",
)
SALES_FAILPOINTS = (
    "validate:before_commit",
    "validate:after_commit",
    "orders:before_commit",
    "orders:after_commit",
    "statements:after_start",
    "statements:before_marked",
    "statements:before_calculated",
    "statements:before_checked",
    "statements:before_aggregated",
    "statements:before_orders_created",
    "statements:before_invoiced",
    "statements:before_payments_posted",
    "statements:before_posted",
    "statements:after_commit",
)
# What conversion comes by only while the number journal cannot be written.
EDITS_POINTS = ("convert:before_edits_commit", "convert:after_edits_commit")
# What posting comes by only where something is refused.
REFUSAL_POINTS = (
    "statements:before_taken_out",
    "statements:after_taken_out",
    "statements:before_stopped",
)
# What a download comes by only where a channel refused customers, is to be sent something again,
# has more than HQ noted, or is paused.
EXCEPTION_POINTS = (
    "download:after_noting",
    "download:after_refused",
    "download:after_suspended",
    "download:before_retry",
    "download:after_retried",
    "download:after_rerun",
)
# What a till comes by when it merges an offline register into its channel's database.
MERGE_POINTS = ("merge:before_channel_commit", "merge:after_channel_commit")
FAILPOINTS = (
    *PIPELINE_FAILPOINTS,
    *EDITS_POINTS,
    *SALES_FAILPOINTS,
    *REFUSAL_POINTS,
    *EXCEPTION_POINTS,
    *MERGE_POINTS,
)

actions: dict[str, Callable[[], object]] = {}


def failpoint(name: str) -> None:
    """Do what a test has armed for this point; usually that is the end of the process."""
    if action := actions.get(name):
        action()
