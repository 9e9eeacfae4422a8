"""Channel tables and HQ's never mix, and nobody reaches a channel by accident."""

from types import SimpleNamespace

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, router

from stores.channeldb import models
from stores.channeldb.connect.connection import ChannelNotChosen, connect


def test_query_without_channel_raises():
    with pytest.raises(ChannelNotChosen):
        models.CustomerEvent.objects.count()


def test_saving_without_channel_raises():
    with pytest.raises(ChannelNotChosen):
        models.ChannelSetting(key="company").save()


def test_query_with_channel_works(channel):
    with connect(channel) as alias:
        assert models.CustomerEvent.objects.using(alias).count() == 0


def test_object_from_channel_is_saved_there(channel):
    with connect(channel) as alias:
        models.ChannelSetting.objects.using(alias).create(key="company", value="USMF")
        setting = models.ChannelSetting.objects.using(alias).get()
        setting.value = "DEMF"
        setting.save(update_fields=["value"])

        assert models.ChannelSetting.objects.using(alias).get().value == "DEMF"


def test_model_of_hq_is_none_of_its_business():
    assert router.db_for_read(ContentType) == "default"


@pytest.mark.parametrize(
    ("alias", "app", "allowed"),
    [
        ("channel-7", "channeldb", True),
        ("channel-7", "contenttypes", False),
        ("channel-7", "stores", False),
        ("default", "channeldb", False),
        ("default", "contenttypes", True),
    ],
)
def test_each_migration_has_one_place(alias, app, allowed):
    assert router.allow_migrate(alias, app) is allowed


def test_channel_rows_and_hq_rows_are_unrelated():
    state = SimpleNamespace(db="channel-7")
    ours, theirs = models.ChannelSetting(), ContentType()
    ours._state = theirs._state = state

    assert router.allow_relation(ours, theirs) is False
    assert router.allow_relation(ours, models.AccountMap()) is True


@pytest.mark.django_db
def test_migrating_hq_makes_no_channel_table():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations WHERE app = 'channeldb'")
        known = cursor.fetchone()[0]
        tables = set(connection.introspection.table_names(cursor, include_views=True))

    # HQ's own staging tables are named like the event tables of a channel; these names are not.
    assert known
    assert not tables & {"exchange_state", "applied_session", "account_map", "customer_lookup"}
