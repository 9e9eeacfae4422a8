"""References of tables with many rows."""

from typing import Any

from django.db import models


class Reference(models.ForeignKey):  # type: ignore[type-arg]
    """A reference to a row that is never deleted, with neither an index nor a constraint.

    Half a million rows a run would each lock the row they point at. Django knows it as a foreign
    key like others.
    """

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **options: Any) -> None:
        usual: dict[str, Any] = {"db_index": False, "db_constraint": False, "related_name": "+"}
        super().__init__(to, on_delete, **usual | options)

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, options
