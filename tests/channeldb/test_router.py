"""The router keeps the tables of channels and HQ apart; a query must name its channel.

From conftest.py: `channel` is a channel, once on PostgreSQL and once on SQLite.
"""

from types import SimpleNamespace

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, router

from stores.channeldb import models
from stores.channeldb.connect.connection import connect
from stores.channeldb.errors import ChannelNotChosen


def test_a_query_without_a_channel_raises():
    with pytest.raises(ChannelNotChosen):
        models.CustomerEvent.objects.count()


def test_saving_without_a_channel_raises():
    with pytest.raises(ChannelNotChosen):
        models.ChannelSetting(key="company").save()


def test_a_query_with_a_channel_works(channel):
    with connect(channel) as alias:
        assert models.CustomerEvent.objects.using(alias).count() == 0


def test_an_object_from_a_channel_is_saved_there(channel):
    with connect(channel) as alias:
        models.ChannelSetting.objects.using(alias).create(key="company", value="USMF")
        setting = models.ChannelSetting.objects.using(alias).get()
        setting.value = "DEMF"
        setting.save(update_fields=["value"])

        assert models.ChannelSetting.objects.using(alias).get().value == "DEMF"


def test_a_model_of_hq_is_read_from_hq():
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
def test_each_migration_is_applied_in_one_place(alias, app, allowed):
    assert router.allow_migrate(alias, app) is allowed


def test_a_channel_s_row_cannot_refer_to_one_of_hq():
    setting, content_type = models.ChannelSetting(), ContentType()
    setting._state = content_type._state = SimpleNamespace(db="channel-7")

    assert router.allow_relation(setting, content_type) is False
    assert router.allow_relation(setting, models.AccountMap()) is True


@pytest.mark.django_db
def test_migrating_hq_creates_no_table_of_a_channel():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations WHERE app = 'channeldb'")
        [migrations] = cursor.fetchone()
        tables = connection.introspection.table_names(cursor, include_views=True)

    assert migrations > 0
    # Other tables of a channel have the names of HQ's staging tables.
    only_in_channels = {"exchange_state", "applied_session", "account_map", "customer_lookup"}
    assert only_in_channels.isdisjoint(tables)
