"""Keep the tables of channels and those of HQ apart."""

from typing import Any

from django.db.models import Model

from stores.channeldb.errors import ChannelNotChosen

APP = "channeldb"
ALIAS = "channel-"


class ChannelRouter:
    """Send nothing anywhere by itself: who wants a channel names it with `using(alias)`."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """The channel an object came from; without one, refuse. Errors: ChannelNotChosen."""
        if model._meta.app_label != APP:
            return None
        alias = getattr(getattr(hints.get("instance"), "_state", None), "db", None)
        if alias and alias.startswith(ALIAS):
            return str(alias)
        raise ChannelNotChosen

    db_for_write = db_for_read

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        """Nothing in a channel refers to HQ, nor the reverse."""
        labels = [obj1._meta.app_label, obj2._meta.app_label]
        return labels[0] == labels[1] if APP in labels else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Channel tables in channels only, and nothing else there."""
        if app_label == APP or db.startswith(ALIAS):
            return app_label == APP and db.startswith(ALIAS)
        return None
