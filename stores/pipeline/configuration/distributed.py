"""Compare the settings that channel databases should hold with those that HQ saw in them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stores.models import ChannelDatabase, DistributedSettings, ExcludedDatabase
from stores.pipeline.configuration.effective import effective_settings


@dataclass(frozen=True)
class SettingState:
    """One setting of one channel database."""

    job: str
    key: str
    effective: Any
    # What the database held when a job last visited it; None if it held nothing.
    distributed: Any
    # Since when it is known to hold that.
    confirmed_at: datetime | None
    # Whether the job leaves out this database, because it is that of a register.
    is_excluded: bool
    is_current: bool

    @property
    def is_pending(self) -> bool:
        """Whether tills still go by another value, or by none."""
        return not self.is_current and not self.is_excluded


def setting_states(databases: Sequence[ChannelDatabase]) -> dict[int, list[SettingState]]:
    """Return the settings of each database by its id, as HQ last saw them."""
    known: dict[int, dict[str, DistributedSettings]] = {}
    for noted in DistributedSettings.objects.filter(database__in=databases):
        known.setdefault(noted.database_id, {})[noted.job] = noted
    excluded = set(
        ExcludedDatabase.objects.filter(database__in=databases).values_list("database__pk", "job")
    )
    effective = effective_settings(databases)
    return {
        database.pk: [
            setting_state(
                job,
                key,
                value,
                known.get(database.pk, {}).get(job),
                is_excluded=(database.pk, job) in excluded,
            )
            for job, settings in effective[database.pk].items()
            for key, value in settings.items()
        ]
        for database in databases
    }


def setting_state(
    job: str, key: str, effective: Any, noted: DistributedSettings | None, *, is_excluded: bool
) -> SettingState:
    if noted is None or key not in noted.settings:
        return SettingState(job, key, effective, None, None, is_excluded, is_current=False)
    held = noted.settings[key]
    is_current = is_same(held, effective)
    return SettingState(
        job, key, effective, held, noted.confirmed_at, is_excluded, is_current=is_current
    )


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: to Python, 1 and true are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
