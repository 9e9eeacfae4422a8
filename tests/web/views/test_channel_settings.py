"""Features are switched on in the settings; a channel's page shows when its tills go by them.

From conftest.py: `popup` is a store on SQLite; `boss` is a client of an administrator; `user_of`
creates a user in a group and returns its client.
"""

import re
from html import unescape

import pytest
from django.test import Client
from django.utils.html import strip_tags

from stores.models import (
    Channel,
    FeatureSet,
    FunctionalityProfile,
    SchedulerJob,
)
from stores.models.job import JobCode
from stores.models.profile import OrderMode
from stores.web.format import EMPTY_VALUE
from tests.support.make import query, run

pytestmark = pytest.mark.slow

EDITING = "Editing customers in asynchronous mode"
ALL_ON = {
    **{"company": "", "async_addresses": "on", "enhanced_creation": "on"},
    **{"async_edit": "on", "multiple_contacts": "on"},
}


def text_of(client: Client, url: str) -> str:
    """The text of a page, with single spaces."""
    return re.sub(r"\s+", " ", unescape(strip_tags(client.get(url).content.decode())))


def errors_of(response) -> dict[str, list[str]]:
    """What a form of the settings says of its fields."""
    return dict(response.context["adminform"].form.errors)


def features_without(*names: str) -> dict[str, str]:
    """The form of the features with all but these switched on."""
    return {name: value for name, value in ALL_ON.items() if name not in names}


def features_url(features: FeatureSet) -> str:
    return f"/admin/stores/featureset/{features.pk}/change/"


@pytest.mark.scenario("T26")
def test_async_edit_is_refused_with_the_names_of_what_it_needs(boss):
    features = FeatureSet.objects.create(
        async_addresses=False, enhanced_creation=False, async_edit=False
    )

    response = boss.post(
        features_url(features), features_without("async_addresses", "enhanced_creation")
    )

    assert errors_of(response)["async_edit"] == [
        f"{EDITING} needs asynchronous creation of customer addresses and enhanced async customer"
        " creation. Switch that on first."
    ]
    features.refresh_from_db()
    assert not features.async_edit


@pytest.mark.scenario("T26")
def test_what_async_edit_needs_cannot_be_switched_off_before_it(boss):
    features = FeatureSet.objects.create()

    response = boss.post(features_url(features), features_without("async_addresses"))

    assert errors_of(response)["async_addresses"] == [
        "Needed by editing customers in asynchronous mode: switch that off first."
    ]
    features.refresh_from_db()
    assert features.async_addresses


@pytest.mark.scenario("T26")
def test_a_channel_keeps_its_old_behaviour_until_a_feature_is_distributed(boss, popup):
    features = FeatureSet.objects.create(async_addresses=False, async_edit=False)
    run(JobCode.GLOBAL_CONFIGURATION)
    boss.post(features_url(features), ALL_ON)

    pending = text_of(boss, "/channels/popup/")
    [(held,)] = query(popup, "SELECT value FROM channel_setting WHERE key = 'features'")
    run(JobCode.GLOBAL_CONFIGURATION)
    distributed = text_of(boss, "/channels/popup/")
    [(sent,)] = query(popup, "SELECT value FROM channel_setting WHERE key = 'features'")

    assert f"{EDITING} Yes No Pending distribution 1110" in pending
    assert '"async_edit": false' in held
    assert f"{EDITING} Yes Yes Distributed 1110" in distributed
    assert '"async_edit": true' in sent


def test_features_can_be_given_to_one_company(boss, popup):
    boss.post("/admin/stores/featureset/add/", features_without("async_edit"))
    boss.post("/admin/stores/featureset/add/", ALL_ON | {"company": "USRT"})
    again = boss.post("/admin/stores/featureset/add/", ALL_ON)

    assert [str(features) for features in FeatureSet.objects.order_by("pk")] == [
        "all companies",
        "USRT",
    ]
    assert "There are features for this choice of company already." in again.content.decode()


def test_a_page_shows_a_setting_that_was_never_sent(boss, popup):
    Channel.objects.update(profile=FunctionalityProfile.objects.create(code="outlet"))

    page = text_of(boss, "/channels/popup/")

    assert "Time zone UTC" in page
    assert f"Functionality profile outlet {EMPTY_VALUE} Pending distribution 1070" in page


def test_a_page_shows_a_profile_by_its_code_whatever_the_code_is(boss, popup):
    profile = FunctionalityProfile.objects.create(code="sync", customer_order_mode="sync_first")
    Channel.objects.update(profile=profile)

    page = text_of(boss, "/channels/popup/")

    assert "Functionality profile sync " in page
    assert f"{OrderMode.SYNC_FIRST.label} {EMPTY_VALUE} Pending distribution" in page


def test_a_page_shows_what_a_register_is_not_sent(boss, popup):
    type(popup).objects.filter(pk=popup.pk).update(name="till-1")
    SchedulerJob.objects.create(job=JobCode.CHANNEL_CONFIGURATION, exclude_from_offline=True)

    page = text_of(boss, "/channels/popup/")

    assert "Settings of register till-1" in page
    assert f"Create customer in async mode Yes {EMPTY_VALUE} Excluded 1070" in page


def test_only_who_may_run_jobs_is_offered_the_jobs_that_send_settings(user_of, popup):
    pages = {
        role: user_of(role).get("/channels/popup/").content.decode()
        for role in ("viewer", "operator")
    }

    assert "Run 1110 for this channel" in pages["operator"]
    assert "Run 1110 for this channel" not in pages["viewer"]


def test_a_profile_is_added_in_the_settings(boss):
    form = {"code": "outlet", "name": "Outlets", "customer_order_mode": "sync_first"}

    boss.post("/admin/stores/functionalityprofile/add/", form)

    profile = FunctionalityProfile.objects.get()
    assert (profile.code, profile.create_customer_async) == ("outlet", False)


def test_a_profile_that_a_channel_has_cannot_be_deleted(boss, popup):
    profile = FunctionalityProfile.objects.create(code="outlet")
    Channel.objects.update(profile=profile)

    boss.post(f"/admin/stores/functionalityprofile/{profile.pk}/delete/", {"post": "yes"})

    assert FunctionalityProfile.objects.exists()
