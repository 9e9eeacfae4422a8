"""Administrators pause and resume uploads and downloads, and archive channels, on pages.

From conftest.py: `popup` is a store on SQLite; `boss` is a client in which an administrator is
signed in.
"""

import pytest

from stores.models import Channel
from tests.support.make import make_customer

DIRECTIONS = [("upload", "Uploads from popup"), ("download", "Downloads to popup")]


def post_pause(boss, popup, **form):
    """Pause or resume a direction of popup. Returns the page that follows."""
    response = boss.post("/channels/popup/pause/", {"database": popup.pk} | form, follow=True)
    popup.refresh_from_db()
    return response.content.decode()


@pytest.mark.parametrize(("direction", "words"), DIRECTIONS)
def test_a_direction_is_paused_with_a_reason_and_resumed_once(boss, popup, direction, words):
    paused = post_pause(boss, popup, direction=direction, reason="Stocktaking.")
    channel_page = boss.get("/channels/popup/").content.decode()
    pause = next(pause for pause in popup.pauses if pause.direction == direction)
    resumed = post_pause(boss, popup, direction=direction, action="resume")
    again = post_pause(boss, popup, direction=direction, action="resume")

    assert f"{words} are paused." in paused
    assert (pause.by.username, pause.reason) == ("boss", "Stocktaking.")
    assert "Stocktaking." in channel_page
    assert f"{direction.capitalize()}s paused" in channel_page
    assert f"{words} are resumed; the next run makes up for it." in resumed
    assert f"{words} are not paused." in again


def test_nothing_is_paused_without_a_reason(boss, popup):
    page = post_pause(boss, popup, direction="upload")

    assert "Enter a reason." in page
    assert not popup.uploads_paused


def test_a_direction_that_does_not_exist_is_not_found(boss, popup):
    form = {"database": popup.pk, "direction": "sideways", "reason": "Stocktaking."}

    assert boss.post("/channels/popup/pause/", form).status_code == 404


def test_a_channel_is_archived_whatever_waits_and_brought_back(boss, popup):
    make_customer(popup, "Ann")
    url, form = "/channels/popup/archive/", {"reason": "Burnt down."}

    refused = boss.post(url, form).content.decode()
    archived = boss.post(url, form | {"whatever_waits": "on"}, follow=True).content.decode()
    listed = boss.get("/channels/").content.decode()
    restored = boss.post(url, {"action": "restore"}, follow=True).content.decode()

    assert "Not uploaded: 1 event of popup." in refused
    assert 'value="Burnt down."' in refused
    assert "Channel popup is archived." in archived
    assert "by boss" in archived
    assert "Archived" in listed
    assert "Channel popup is visited again." in restored
    assert Channel.objects.get().is_enabled


def test_an_archived_channel_is_not_switched_on_in_the_settings(boss, popup):
    boss.post("/channels/popup/archive/", {"reason": "Closed."})
    channel = Channel.objects.get()
    form = {"name": "Popup", "kind": "store", "time_zone": "UTC", "day_ends_at": "00:00"}
    form |= {"statement_mode": channel.statement_mode, "hold_code": "X", "is_enabled": "on"}
    form |= {"databases-TOTAL_FORMS": "0", "databases-INITIAL_FORMS": "0"}

    page = boss.post(f"/admin/stores/channel/{channel.pk}/change/", form).content.decode()

    assert "The channel is archived. Bring it back first." in page
    assert not Channel.objects.get().is_enabled
