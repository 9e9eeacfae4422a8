"""Messages are stored as codes and parameters, and become sentences when they are shown."""

import json
import struct
from pathlib import Path

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.utils.translation import override
from django.utils.translation.trans_real import translation

from stores.messages.field import MessageField
from stores.messages.message import EMPTY, Message, UnknownCode, because, count_of, join
from stores.models import JobRun

HOUSTON_HAS_MANY = Message(
    "downloads_on_hold", customers=Message("more_customers", count=1000), database="houston"
)
JOURNAL = Message(
    "numbers_forgotten",
    documents=[
        Message("orders_issued", first="SO-1", last="SO-3", company="USRT"),
        Message("invoices_issued", first="IN-1", last="IN-2", company="USRT"),
    ],
)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (EMPTY, ""),
        (Message("worker_gone"), "The process running it is gone."),
        (Message("counts", counts=[count_of("staged", 1200)]), "1,200 staged."),
        (
            Message("no_changes", counts=[count_of("unchanged", 3), count_of("owed_again", 1)]),
            "No changes (3 unchanged, 1 owed_again).",
        ),
        (
            Message("promises_broken", count=1, checked=35, promises=["I3"]),
            "1 of 35 promises is broken: I3.",
        ),
        (
            Message("promises_broken", count=2, checked=35, promises=["I3", "I7"]),
            "2 of 35 promises are broken: I3, I7.",
        ),
        (
            Message("worker_gone") + Message("more", count=2),
            "The process running it is gone. And 2 more.",
        ),
        (
            join([Message("nothing_to_do"), HOUSTON_HAS_MANY]),
            "Nothing to do. More than 1,000 customers pending for houston, whose downloads are"
            " paused.",
        ),
        (
            JOURNAL,
            "Headquarters had issued orders SO-1 to SO-3 (USRT), invoices IN-1 to IN-2 (USRT)"
            " before it was restored from an older backup, and no longer knows them. Nothing is"
            " posted until someone has reviewed them.",
        ),
        (because("key_missing", "email"), "E-mail: this key is required."),
        (because("key_missing"), "row: this key is required."),
        (because(None), ""),
    ],
)
def test_a_message_is_shown_as_its_sentences_also_once_it_was_stored(message, sentence):
    stored = Message.from_data(json.loads(message.json))

    assert (str(message), str(stored)) == (sentence, sentence)
    assert stored == message


def test_only_an_empty_message_is_false():
    assert not EMPTY
    assert Message("done")


def test_a_new_message_has_a_code_of_the_catalog():
    with pytest.raises(UnknownCode, match="said_by_nobody"):
        Message("said_by_nobody")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"code": "run_postponed", "params": {"by_minutes": 1200, "channels": ["a", "b"]}},
            "Run postponed (by minutes: 1,200, channels: a, b).",
        ),
        ({"code": "run_postponed", "params": {}}, "Run postponed."),
        (
            {"code": "reason_too_odd", "params": {"field": "email"}},
            "Reason too odd (field: E-mail).",
        ),
        (
            {
                "code": "run_postponed",
                "params": {"hours": 1.5, "by": None, "at": {"day": 3}},
            },
            "Run postponed (hours: 1.5, by: None, at: {'day': 3}).",
        ),
        (
            {"code": "run_postponed", "params": {"rows": [{"day": 3}], "parts": [{"code": 7}]}},
            "Run postponed (rows: {'day': 3}, parts: {'code': 7}).",
        ),
        (
            {"code": "counts", "params": {"counts": [None, 1.5, ["a", "b"]]}},
            "None, 1.5, a, b.",
        ),
        # A known code, with the parameters of a newer release.
        ({"code": "more", "params": {"rows": 3}}, "More (rows: 3)."),
    ],
)
def test_what_a_newer_release_has_written_is_shown_in_plain_words(data, words):
    message = Message.from_data([data])

    assert str(message) == words
    assert Message.from_data(json.loads(message.json)) == message


# ------------------------------------------------------------------------ another language

GERMAN = {
    "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n",
    "%(counts)s.": "Ergebnis: %(counts)s.",
    "%(count)s staged\0%(count)s staged": "%(count)s Zeile geholt\0%(count)s Zeilen geholt",
}


def compiled(texts: dict[str, str]) -> bytes:
    """A catalog of gettext (.mo): a header, the places of the texts, the texts."""
    ids, texts_in_order = sorted(texts), [texts[id] for id in sorted(texts)]
    places, data = [], b""
    begin = 28 + 16 * len(ids)
    for text in [*ids, *texts_in_order]:
        encoded = text.encode()
        places += [len(encoded), begin + len(data)]
        data += encoded + b"\0"
    header = (0x950412DE, 0, len(ids), 28, 28 + 8 * len(ids), 0, begin)
    return struct.pack(f"<7I{len(places)}I", *header, *places) + data


@pytest.fixture
def german(settings, tmp_path: Path, monkeypatch):
    """A translation of two texts."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "django.mo").write_bytes(compiled(GERMAN))
    settings.LOCALE_PATHS = [tmp_path]
    monkeypatch.setattr("django.utils.translation.trans_real._translations", {})
    translation("de")


@pytest.mark.parametrize(
    ("rows", "german_sentence", "english_sentence"),
    [
        (1, "Ergebnis: 1 Zeile geholt.", "1 staged."),
        (1200, "Ergebnis: 1.200 Zeilen geholt.", "1,200 staged."),
    ],
)
def test_a_stored_message_is_shown_in_the_language_of_who_reads_it(
    db, german, rows, german_sentence, english_sentence
):
    message = Message("counts", counts=[count_of("staged", rows)])
    JobRun.objects.create(job="1010", message=message)

    job_run = JobRun.objects.get()

    with override("de"):
        assert str(job_run.message) == german_sentence
        assert job_run.as_dict()["message"] == german_sentence
    assert job_run.as_dict()["message"] == english_sentence


# ------------------------------------------------------------------------------ the column


def test_a_message_is_stored_as_codes_and_parameters(db):
    JobRun.objects.create(job="1010", message=HOUSTON_HAS_MANY + Message("more", count=2))

    with connection.cursor() as cursor:
        cursor.execute("SELECT message FROM job_run")
        [(stored,)] = cursor.fetchall()

    assert json.loads(stored) == [
        {
            "code": "downloads_on_hold",
            "params": {
                "customers": [{"code": "more_customers", "params": {"count": 1000}}],
                "database": "houston",
            },
        },
        {"code": "more", "params": {"count": 2}},
    ]


@pytest.mark.parametrize(
    "stored",
    [
        '"Done."',
        "{}",
        "3",
        '{"code": "done", "params": {}}',
        '["Done."]',
        '[{"code": "done"}]',
        '[{"params": {}}]',
        '[{"code": 7, "params": {}}]',
        '[{"code": "done", "params": []}]',
        '[{"code": "done", "params": {}}, {"code": "done"}]',
        '[[{"code": "done", "params": {}}]]',
    ],
)
def test_the_database_refuses_what_is_no_message(db, stored):
    JobRun.objects.create(job="1010")

    with (
        pytest.raises(DatabaseError, match="job_run_message_check"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE job_run SET message = %s", [stored])


def test_every_column_of_messages_refuses_what_is_none(db):
    columns = {
        (model._meta.db_table, field.column)
        for model in apps.get_app_config("stores").get_models()
        for field in model._meta.local_fields
        if isinstance(field, MessageField)
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conrelid::regclass::text, conname FROM pg_constraint
                WHERE contype = 'c' AND pg_get_constraintdef(oid) LIKE '%jsonb_path_match%'"""
        )
        guarded = set(cursor.fetchall())

    assert guarded == {(table, f"{table}_{column}_check") for table, column in columns}
    assert columns == {
        ("channel_database", "last_error"),
        ("download_exception", "message"),
        ("download_session", "message"),
        ("incident", "message"),
        ("job_run", "message"),
        ("promise", "title"),
        ("run_step", "message"),
        ("statement", "message"),
        ("statement_event", "text"),
        ("upload_session", "message"),
    }
