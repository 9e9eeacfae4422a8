"""The settings of a channel database on its channel's page: what tills should go by, and do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stores.messages.labels import label
from stores.models import ChannelDatabase
from stores.models.features import FEATURES, MANDATORY_FEATURES, capitalized
from stores.models.profile import OrderMode
from stores.pipeline.configuration.distributed import SettingState, is_same
from stores.web.format import EMPTY_VALUE

# What the parts of a setting are called, where that does not follow from their keys.
TITLES = {
    ("profile", "code"): "Functionality profile",
    ("profile", "create_customer_async"): "Create customer in async mode",
    ("profile", "customer_order_mode"): "Create customer order in async mode",
    ("default_customer", "account_number"): "Default customer",
    ("affiliations", ""): "Affiliations that tills offer",
    ("attributes", ""): "Defined attributes",
    ("max_lengths", ""): "Longest texts",
    **{("features", name): capitalized(name) for name in (*MANDATORY_FEATURES, *FEATURES)},
}


@dataclass(frozen=True)
class SettingRow:
    """A setting, or one part of it, in words."""

    job: str
    title: str
    effective: str
    distributed: str
    # Of the badge: "distributed", "pending" or "excluded".
    state: str


def settings_title(database: ChannelDatabase) -> str:
    return f"Settings of register {database.name}" if database.name else "Settings of tills"


def setting_rows(states: Iterable[SettingState]) -> list[SettingRow]:
    """The settings of one database, each part of those that have parts in a row of its own."""
    return [row for state in states for row in rows_of(state)]


def rows_of(state: SettingState) -> Iterator[SettingRow]:
    if state.key == "max_lengths" or not isinstance(state.effective, dict):
        yield setting_row(state, title_of(state.key), state.effective, state.distributed)
        return
    held = state.distributed if isinstance(state.distributed, dict) else {}
    for name, value in state.effective.items():
        title = title_of(state.key, name)
        effective = in_words(state.key, name, value)
        distributed = in_words(state.key, name, held.get(name))
        yield setting_row(state, title, effective, distributed, name in held)


def in_words(key: str, name: str, value: Any) -> Any:
    """The value of a part with a list of choices as the list calls it."""
    if (key, name) == ("profile", "customer_order_mode") and value in OrderMode.values:
        return OrderMode(value).label
    return value


def title_of(key: str, name: str = "") -> str:
    """What a setting, or one part of it, is called."""
    if title := TITLES.get((key, name)):
        return title
    title = label(name or key)
    return f"New customers: {title.lower()}" if key == "default_customer" else title


def setting_row(
    state: SettingState, title: str, effective: Any, distributed: Any, is_held: bool | None = None
) -> SettingRow:
    is_held = state.confirmed_at is not None if is_held is None else is_held
    if is_held and is_same(effective, distributed):
        look = "distributed"
    else:
        look = "excluded" if state.is_excluded else "pending"
    held = words_of(distributed) if is_held else EMPTY_VALUE
    return SettingRow(state.job, title, words_of(effective), held, look)


def words_of(value: Any) -> str:
    """A value of a setting in words; of definitions and limits only what they are for."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, dict):
        return f"{sum(map(len, value.values()))} limits"
    if isinstance(value, list):
        names = [str(entry["name"] if isinstance(entry, dict) else entry) for entry in value]
        return ", ".join(names) or "None"
    return EMPTY_VALUE if value is None else str(value)
