"""The real-time service: the tokens of the channels' tills, and the accounts it has given them."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from stores.models.reference import Reference

MAX_CALLS_PER_MINUTE = 100_000


class RtsTokenQuerySet(models.QuerySet["RtsToken"]):
    def newest_first(self) -> Self:
        return self.order_by("-made_at", "pk")

    def with_people(self) -> Self:
        return self.select_related("channel", "made_by", "revoked_by")


class RtsToken(models.Model):
    """What the tills of one channel identify themselves with. Its secret is shown once.

    HQ stores only the SHA-256 of the secret, which is random and has 256 bits: no list of hashes
    leads back to it. A token is never changed or deleted, only revoked.
    """

    # The public part of the token.
    id = models.CharField(primary_key=True, max_length=16)
    # The SHA-256 of the secret part.
    digest = models.CharField(max_length=64, unique=True)
    channel = models.ForeignKey("stores.Channel", models.PROTECT, related_name="rts_tokens")
    networks = models.JSONField(
        default=list, help_text="Where tills may call from; empty: anywhere."
    )
    calls_per_minute = models.PositiveIntegerField()
    made_at = models.DateTimeField(db_default=Now())
    # None: somebody with a command.
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    last_used_at = models.DateTimeField(null=True)
    last_used_from = models.GenericIPAddressField(null=True)
    # The last call that was refused although the secret was right, and the code of the reason.
    last_refused_at = models.DateTimeField(null=True)
    last_refusal = models.CharField(max_length=40, db_default="")
    # The calls of the minute that began then.
    minute = models.DateTimeField(null=True)
    calls = models.PositiveIntegerField(db_default=0)

    objects = RtsTokenQuerySet.as_manager()

    class Meta:
        db_table = "rts_token"
        default_permissions = ()
        permissions = [("manage_token", "Can make and revoke tokens of the real-time service")]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("made_at")), name="a_token_expires_after_it_was_made"
            ),
            models.CheckConstraint(
                condition=Q(digest__regex="^[0-9a-f]{64}$"), name="only_a_digest_is_stored"
            ),
            models.CheckConstraint(
                condition=Q(calls_per_minute__gte=1, calls_per_minute__lte=MAX_CALLS_PER_MINUTE),
                name="a_token_allows_some_calls",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=False) | Q(revoked_by__isnull=True),
                name="somebody_revokes_at_some_time",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def status(self) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if self.expires_at > timezone.now() else "expired"


class RtsAnswer(models.Model):
    """An account that the service has given to a till: which token asked first, and when.

    The account itself never changes, so it is in the GUID map alone.
    """

    async_account = models.UUIDField(primary_key=True)
    token = Reference("stores.RtsToken")
    answered_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "rts_answer"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.async_account)
