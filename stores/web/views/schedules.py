"""The pages of schedules: what starts when and how it went, and the form that changes it."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from stores.jobs.catalog import JOBS
from stores.models import Schedule
from stores.models.schedule import restore_scheduler
from stores.web.forms.reason import posted_reason
from stores.web.forms.schedule import STALE, ScheduleForm
from stores.web.permissions import require_permission
from stores.web.request import Request

may_add = require_permission("stores.add_schedule", "add schedules")
may_change = require_permission("stores.change_schedule", "change schedules")
may_delete = require_permission("stores.delete_schedule", "remove schedules")


@require_safe
def schedule_list(request: Request) -> HttpResponse:
    schedules = [described(schedule) for schedule in Schedule.objects.with_details()]
    return render(request, "schedules/list.html", {"schedules": schedules})


@require_safe
def schedule_detail(request: Request, number: int) -> HttpResponse:
    return render(request, "schedules/detail.html", described(get_schedule(number)))


@require_http_methods(["GET", "HEAD", "POST"])
@may_add
def add_schedule(request: Request) -> HttpResponse:
    return edit(request, Schedule(), "added")


@require_http_methods(["GET", "HEAD", "POST"])
@may_change
def change_schedule(request: Request, number: int) -> HttpResponse:
    return edit(request, get_schedule(number), "changed")


def edit(request: Request, schedule: Schedule, done: str) -> HttpResponse:
    form = ScheduleForm(request.POST if request.method == "POST" else None, instance=schedule)
    with transaction.atomic():
        saved = form.save_as(request.user) if form.is_valid() else None
    if form.is_stale:
        messages.warning(request, STALE)
        return redirect("change-schedule", schedule.pk)
    if saved:
        messages.success(request, f"Schedule {done}: {JOBS[saved.job].title}, {saved.rhythm}.")
        return redirect(saved)
    back_url = schedule.get_absolute_url() if schedule.pk else reverse("schedules")
    context = {"form": form, "schedule": schedule, "back_url": back_url}
    return render(request, "schedules/form.html", context)


@require_POST
@may_change
def pause_schedule(request: Request, number: int) -> HttpResponse:
    """Pause a schedule for a reason, or resume it."""
    schedule, now = get_schedule(number), timezone.now()
    if request.POST.get("action") == "resume":
        if schedule.resume(now):
            messages.success(request, "The schedule is resumed.")
    # Without a reason, posted_reason() has told the user so.
    elif reason := posted_reason(request):
        if schedule.pause(now, reason, by=request.user):
            messages.success(request, "The schedule starts nothing until you resume it.")
        else:
            messages.warning(request, "The schedule is paused already.")
    return redirect(schedule)


@require_http_methods(["GET", "HEAD", "POST"])
@may_delete
def remove_schedule(request: Request, number: int) -> HttpResponse:
    schedule = get_schedule(number)
    if request.method == "POST":
        schedule.delete()
        messages.success(request, f"Schedule removed: {JOBS[schedule.job].title}.")
        return redirect("schedules")
    return render(request, "schedules/remove.html", described(schedule))


@require_POST
@may_add
def restore_schedules(request: Request) -> HttpResponse:
    """Add what a new installation has and is missing."""
    schedules, scheduler_jobs = restore_scheduler(timezone.now())
    restored = [JOBS[schedule.job].title for schedule in schedules]
    restored += [f"scheduler job {job}" for job in scheduler_jobs]
    if restored:
        messages.success(request, f"Restored: {'; '.join(restored)}.")
    else:
        messages.info(request, "Nothing is missing.")
    return redirect("schedules")


def get_schedule(number: int) -> Schedule:
    return get_object_or_404(Schedule.objects.with_details(), pk=number)


def described(schedule: Schedule) -> dict[str, Any]:
    """The schedule with its job and whether its start is late."""
    return {
        "schedule": schedule,
        "job": JOBS[schedule.job],
        "is_late": schedule.is_late(timezone.now()),
    }
