"""Uploads from a database, or downloads to it, are paused by a person until a person resumes them.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on each engine; `hq_user` is robin, a user at headquarters. What pausing does to downloads is
in download/test_session_states.py.
"""

import pytest

from stores import failpoints
from stores.models import AsyncCustomer, UploadSession
from stores.models.channel import Direction
from stores.models.job import JobCode
from stores.pipeline.pauses import PauseRefused, pause, resume
from stores.pipeline.upload import upload
from tests.support.make import lookup, make_customer, make_many, out_of_reach, run, unacknowledged
from tests.support.promises import broken_promises


def test_nothing_is_uploaded_while_that_is_paused(store, hq_user):
    pause(store, Direction.UPLOAD, "Stocktaking.", by=hq_user)
    make_customer(store, "Ann")

    result = run(JobCode.UPLOAD)

    assert (result["outcome"], unacknowledged(store)) == ("nothing_to_do", 1)
    assert result["message"].endswith(f"Uploads from {store.label} are paused.")
    store.refresh_from_db()
    assert (store.uploads_paused_by, store.uploads_pause_reason) == (hq_user, "Stocktaking.")
    assert store.last_visited_at is None
    assert not UploadSession.objects.exists()


def test_what_was_paused_is_uploaded_once_it_is_resumed(store):
    make_customer(store, "Ann")
    run("pipeline")
    pause(store, Direction.UPLOAD, "Stocktaking.")
    make_customer(store, "Bo")
    run("pipeline")

    resume(store, Direction.UPLOAD)
    promises = broken_promises()
    run("pipeline")

    assert promises == []
    assert [name for _, name in lookup(store)] == ["Ann", "Bo"]


def test_a_paused_upload_does_not_pause_downloads(houston, popup):
    pause(popup, Direction.UPLOAD, "Stocktaking.")
    make_customer(houston, "Ann")

    run("pipeline")

    assert lookup(popup) == lookup(houston)


def test_a_paused_database_is_not_opened_for_an_upload(popup):
    pause(popup, Direction.UPLOAD, "Server move.")

    with out_of_reach(popup):
        result = run(JobCode.UPLOAD)

    assert result["outcome"] == "nothing_to_do"


def test_a_pause_stops_an_upload_after_the_batch_that_is_on_its_way(houston, monkeypatch):
    monkeypatch.setattr(upload, "EVENTS_PER_CHUNK", 2)
    make_many(houston, 5)
    monkeypatch.setitem(
        failpoints.actions,
        "upload:after_hq_commit",
        lambda: pause(houston, Direction.UPLOAD, "Stocktaking."),
    )

    run(JobCode.UPLOAD)

    assert (AsyncCustomer.objects.count(), unacknowledged(houston)) == (2, 3)


@pytest.mark.parametrize("direction", Direction)
def test_only_what_is_paused_is_resumed(popup, direction):
    pause(popup, direction, "Stocktaking.")
    resume(popup, direction)

    with pytest.raises(PauseRefused, match=f"{direction.label} popup are not paused."):
        resume(popup, direction)
