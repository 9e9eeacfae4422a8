"""The admin: settings for administrators to change, and rows of jobs for them to read."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from stores import models
from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.models.features import FEATURES
from stores.models.job import JobCode
from stores.models.run import StartedBy
from stores.web.forms.account import MAX_LENGTH, customer_with_account
from stores.web.forms.attribute import AttributeDefinitionForm
from stores.web.forms.parameter import ParameterForm
from stores.web.forms.schedule import ScheduleForm

admin.site.site_header = "Syncline settings"
admin.site.site_title = "Syncline settings"
admin.site.index_title = "Settings"


class Listed(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list whose URL can filter only by the list's own filters.

    Django allows a filter by any column of the table, in any way: users who may see the list could
    then find out letter by letter what it hides.
    """

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup in self.lookups

    @property
    def lookups(self) -> set[str]:
        """The lookups that the list's filters, and a choice of rows, put into a URL."""
        fields = [self.opts.get_field(name) for name in (*self.list_filter, self.opts.pk.name)]
        allowed = set()
        for field in fields:
            name = field.name
            if related := field.related_model:
                allowed.add(f"{name}__{related._meta.pk.name}__exact")
            allowed |= {name, *(f"{name}__{way}" for way in ("exact", "in", "isnull"))}
        return allowed


class NeverDeleted:
    """Rows that others refer to for ever."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class NeverAdded:
    """Rows that only commands and jobs create."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnly(NeverAdded, NeverDeleted):
    """Rows that jobs write and people only read."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


# ------------------------------------------------------------------ set-up


class NumberSequenceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A sequence starts at its smallest number; while jobs draw from it only the rest is saved."""

    class Meta:
        model = models.NumberSequence
        fields = ("format", "start", "largest")

    def clean_start(self) -> int:
        start: int = self.cleaned_data["start"]
        if not self.instance._state.adding and start < self.instance.next:
            raise forms.ValidationError(f"May be raised, but not below {self.instance.next}.")
        return start

    def clean_largest(self) -> int:
        largest: int = self.cleaned_data["largest"]
        if was_issued(self.instance) and largest < self.instance.next - 1:
            raise forms.ValidationError(f"{self.instance.next - 1} has been issued already.")
        return largest

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        start = values.get("start", self.instance.start)
        if "largest" in values and values["largest"] < start:
            self.add_error("largest", "Below the smallest number.")
        return values

    def _post_clean(self) -> None:
        # Before the constraints are checked: until a number is issued, the next is the smallest.
        if not was_issued(self.instance) and "start" in self.cleaned_data:
            self.instance.next = self.cleaned_data["start"]
        super()._post_clean()  # type: ignore[misc]

    def save(self, commit: bool = True) -> Any:
        if not self.instance._state.adding and commit:
            # A smallest number that changes takes the next one along.
            moved = ["next"] if "start" in self.changed_data else []
            self.instance.save(update_fields=[*self.changed_data, *moved])
            return self.instance
        return super().save(commit)


def was_issued(sequence: models.NumberSequence | None) -> bool:
    """Whether the sequence has given out a number; its format and start are then fixed."""
    if sequence is None or sequence._state.adding:
        return False
    saved = models.NumberSequence.objects.get(pk=sequence.pk)
    return saved.next > saved.start


class NumberSequenceInline(NeverDeleted, admin.StackedInline):  # type: ignore[type-arg]
    model = models.NumberSequence
    form = NumberSequenceForm
    fields = ("format", "start", "largest", "next")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        sequence = models.NumberSequence.objects.filter(company=obj).first() if obj else None
        return ("format", "start", "next") if was_issued(sequence) else ("next",)


@admin.register(models.Company)
class CompanyAdmin(NeverDeleted, Listed):
    list_display = ("code", "name", "numbers_left")
    list_select_related = ("numbersequence",)
    inlines = (NumberSequenceInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("code",) if obj else ()

    @admin.display(description="account numbers left")
    def numbers_left(self, company: models.Company) -> str:
        sequence = getattr(company, "numbersequence", None)
        return f"{sequence.remaining:,}" if sequence else "no number sequence"


@admin.register(models.FunctionalityProfile)
class FunctionalityProfileAdmin(Listed):
    """A change reaches a channel's tills with job 1070."""

    list_display = ("code", "name", "create_customer_async", "customer_order_mode")
    search_fields = ("code", "name")


@admin.register(models.FeatureSet)
class FeatureSetAdmin(Listed):
    """A change reaches the tills with job 1110."""

    list_display = ("__str__", *FEATURES)


@admin.register(models.Affiliation)
class AffiliationAdmin(Listed):
    """A change reaches the tills with job 1070."""

    list_display = ("name", "company", "description", "is_hidden")
    list_filter = ("company", "is_hidden")


@admin.register(models.CustomerGroup)
class CustomerGroupAdmin(Listed):
    list_display = ("code", "company", "name", "financial_dimensions")


@admin.register(models.SchedulerJob)
class SchedulerJobAdmin(Listed):
    list_display = ("__str__", "exclude_from_offline")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("job",) if obj else ()


@admin.register(models.Parameter)
class ParameterAdmin(Listed):
    """Without a row, a parameter has the value of the environment, or the default."""

    form = ParameterForm
    list_display = ("name", "value")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()


@admin.register(models.PaymentRounding)
class PaymentRoundingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("company", "currency", "tender", "rounding_unit", "tolerance")
    list_display_links = ("company", "currency")
    list_filter = ("company", "currency")

    @admin.display(description="tender", ordering="tender_type")
    def tender(self, rounding: models.PaymentRounding) -> str:
        return rounding.tender_type or "all others"


class DatabaseInline(NeverAdded, NeverDeleted, admin.StackedInline):  # type: ignore[type-arg]
    model = models.ChannelDatabase
    fields = (
        *("name", "group", "address", "is_enabled", "strict_order"),
        *("last_visited_at", "last_error"),
    )
    # The address is changed on a page of the portal, which tests it.
    readonly_fields = ("name", "address", "last_visited_at", "last_error")
    extra = 0


class ChannelSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """The default customer is entered by its account number."""

    default_customer = forms.CharField(
        max_length=MAX_LENGTH,
        required=False,
        help_text=(
            "Its account number, for example C-000001. New customers inherit group, currency,"
            " language and affiliations from it."
        ),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if customer := self.instance.default_customer:
            self.initial["default_customer"] = customer.account_number

    def clean_default_customer(self) -> models.Customer | None:
        account = self.cleaned_data["default_customer"]
        return customer_with_account(account, self.instance.company) if account else None


@admin.register(models.Channel)
class ChannelAdmin(NeverAdded, NeverDeleted, Listed):
    """A page of the portal and create_channel add channels: they also make their databases."""

    list_display = ("code", "name", "kind", "company", "is_enabled")
    list_filter = ("is_enabled", "kind", "company")
    search_fields = ("code", "name")
    readonly_fields = ("code", "company", "created_at")
    form = ChannelSettingsForm
    inlines = (DatabaseInline,)
    actions = ("run_pipeline",)

    # The action below names this permission.
    def has_run_job_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("stores.run_job")

    @admin.action(description="Run pipeline for the selected channels", permissions=["run_job"])
    def run_pipeline(self, request: HttpRequest, chosen: QuerySet[models.Channel]) -> None:
        started = start_job(
            JOBS[JobCode.PIPELINE],
            channels=[channel.code for channel in chosen],
            started_by=StartedBy.ADMIN,
            user=request.user,
        )
        if started.is_new:
            self.message_user(request, f"Run {started.run.short_id} of the pipeline started.")
        else:
            message = f"The pipeline is already running for these: run {started.run.short_id}."
            self.message_user(request, message, messages.WARNING)


@admin.register(models.ChannelDatabase)
class ChannelDatabaseAdmin(NeverAdded, NeverDeleted, Listed):
    list_display = ("__str__", "group", "is_enabled", "last_visited_at", "last_error")
    list_filter = ("is_enabled", "group")
    list_select_related = ("channel", "group")
    fields = (
        *("channel", "name", "group", "address", "is_enabled", "strict_order"),
        *("database_id", "generation", "last_visited_at", "last_error"),
    )
    readonly_fields = (
        *("channel", "name", "address", "database_id", "generation"),
        *("last_visited_at", "last_error"),
    )


@admin.register(models.ChannelDatabaseGroup)
class ChannelDatabaseGroupAdmin(Listed):
    list_display = ("name", "filter_shared_customer_data")


@admin.register(models.AttributeDefinition)
class AttributeDefinitionAdmin(Listed):
    list_display = ("name", "company", "data_type")
    list_filter = ("company", "data_type")
    form = AttributeDefinitionForm


@admin.register(models.Schedule)
class ScheduleAdmin(Listed):
    """Schedules are changed on their pages, too, by the same form."""

    form = ScheduleForm
    fields = ScheduleForm.Meta.fields
    list_display = ("job", "rhythm", "about", "state", "next_start_at")
    list_filter = ("job", "is_enabled")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.save_as(request.user)


# ------------------------------------------------------------------ what jobs write


@admin.register(models.Customer)
class CustomerAdmin(ReadOnly, Listed):
    """Customers are changed on their own page; here, what new customers inherit."""

    list_display = ("account_number", "company", "is_active", "created_at")
    list_filter = ("company", "is_active")
    search_fields = ("=account_number",)
    search_help_text = "An account number"
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if obj is None or not request.user.has_perm("stores.change_channel"):
            return False
        return models.Channel.objects.filter(default_customer=obj.pk).exists()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        names = [field.name for field in self.opts.fields if field.editable]
        return [name for name in names if name != "receipt_preference"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(update_fields=form.changed_data)


@admin.register(models.GuidMap)
class GuidMapAdmin(ReadOnly, Listed):
    list_display = ("async_account", "customer", "company", "origin", "channel", "created_at")
    list_select_related = ("customer", "company", "channel")
    search_fields = ("=async_account", "=customer__account_number")
    search_help_text = "A GUID or an account number"
    show_full_result_count = False
    ordering = ("-customer", "async_account")


@admin.register(models.JobRun)
class JobRunAdmin(ReadOnly, Listed):
    list_display = ("__str__", "status", "scope", "started_by", "created_at", "ended_at")
    list_filter = ("status", "job", "started_by")
    show_full_result_count = False
    ordering = ("-created_at", "id")


class SessionAdmin(ReadOnly, Listed):
    list_filter = ("status", "database")
    list_select_related = ("database__channel",)
    show_full_result_count = False
    ordering = ("-started_at", "id")


@admin.register(models.UploadSession)
class UploadSessionAdmin(SessionAdmin):
    list_display = ("id", "database", "status", "read", "staged", "quarantined", "started_at")


@admin.register(models.DownloadSession)
class DownloadSessionAdmin(SessionAdmin):
    list_display = ("id", "database", "status", "customers", "rows", "started_at")


@admin.register(models.Quarantine)
class QuarantineAdmin(ReadOnly, Listed):
    list_display = ("id", "database", "table", "field", "reason", "status", "first_seen_at")
    list_filter = ("status", "reason", "table")
    list_select_related = ("database__channel",)
    # What the row held is personal data.
    exclude = ("raw", "payload_hash")
    show_full_result_count = False
    ordering = ("-id",)
