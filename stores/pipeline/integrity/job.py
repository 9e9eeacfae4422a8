"""The job that checks all invariants and saves the results for the page of promises."""

from django.db.models.functions import Now

from stores.messages.message import Message
from stores.models import Promise, RunStep
from stores.models.run import StepFailed
from stores.pipeline.integrity.checks import Check
from stores.pipeline.integrity.verify import verify


def check_promises(step: RunStep) -> None:
    """Check all invariants and save the results. Raise StepFailed if any is broken."""
    checks = verify()
    with step.chunk():
        step.add(checked=len(checks))
        if not step.is_dry:
            for position, check in enumerate(checks, start=1):
                save_check(step, position, check)
            Promise.objects.exclude(pk__in=[check.id for check in checks]).delete()
    if broken := [check.id for check in checks if not check.ok]:
        raise StepFailed(
            Message("promises_broken", count=len(broken), checked=len(checks), promises=broken)
        )


def save_check(step: RunStep, position: int, check: Check) -> None:
    """Save the result of one invariant. `broken_since` is kept while it stays broken."""
    fields = {
        "position": position,
        "title": check.title,
        "ok": check.ok,
        "checked": check.checked,
        "late": check.late,
        "offending": check.offending,
        "checked_at": Now(),
        "run": step.run,
    }
    if check.ok:
        fields["broken_since"] = None
    before = Promise.objects.filter(pk=check.id)
    if not check.ok and not before.filter(broken_since__isnull=False).exists():
        fields["broken_since"] = Now()
    Promise.objects.update_or_create(pk=check.id, defaults=fields)
