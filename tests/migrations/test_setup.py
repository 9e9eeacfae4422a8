"""A database of an older release is migrated with what it holds."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from stores.models import Channel, FunctionalityProfile, Schedule
from stores.models.schedule import DEFAULTS, restore_scheduler
from tests.support.channels import on_server
from tests.support.databases import drop_database

pytestmark = pytest.mark.slow

OLD_HQ = "old_hq"


def migrate(*targets: tuple[str, str]) -> None:
    """Migrate HQ's database to these migrations, or to the newest."""
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets) or executor.loader.graph.leaf_nodes())


@pytest.fixture
def old_hq(hq) -> Iterator[None]:
    """HQ's connection leads to a database that was made by the first release."""
    name = connection.settings_dict["NAME"]
    drop_database(OLD_HQ)
    on_server(f"CREATE DATABASE {OLD_HQ}")
    connection.close()
    connection.settings_dict["NAME"] = OLD_HQ
    migrate(("stores", "0001_initial"))
    yield
    connection.close()
    connection.settings_dict["NAME"] = name
    drop_database(OLD_HQ)


def test_the_profile_of_a_channel_becomes_a_profile_with_the_defaults(old_hq):
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO company (code, name, payment_tolerance) VALUES ('USRT', 'Retail', 0);
               INSERT INTO channel (code, name, kind, company_id, country, profile, time_zone,
                                    day_ends_at, statement_mode, hold_code, is_enabled, created_at)
               SELECT code, code, 'store', 'USRT', '', profile, 'UTC', '00:00', 'trickle_feed',
                      'SYNC-ERROR', true, now()
                 FROM (VALUES ('houston', 'outlet'), ('seattle', 'outlet'), ('web', ''))
                      AS old (code, profile)"""
        )

    migrate()

    profiles = Channel.objects.values_list("code", "profile__code")
    assert list(profiles) == [("houston", "outlet"), ("seattle", "outlet"), ("web", None)]
    profile = FunctionalityProfile.objects.get()
    assert (profile.create_customer_async, profile.customer_order_mode) == (True, "async")
    assert scheduled() == {"pipeline", "reconcile", "verify"}


def test_a_new_installation_has_the_default_schedules(old_hq):
    migrate()

    assert scheduled() == {schedule["job"] for schedule in DEFAULTS}
    assert restore_scheduler(timezone.now()) == ([], [])


def scheduled() -> set[str]:
    return set(Schedule.objects.values_list("job", flat=True))
