"""The ring: how a customer gets from a till to headquarters and back.

    channel db --upload--> staging --convert--> HQ customer --download--> channel db

A step works on one channel database or one company. It reads one station and writes the next, a
chunk a transaction: write the destination, commit, then acknowledge the source. Steps do not know
each other; rows and their states connect them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stores.models import RunStep
from stores.pipeline.convert import convert_customers
from stores.pipeline.download import download_accounts
from stores.pipeline.upload import upload_events


@dataclass(frozen=True)
class Step:
    """One step of the ring: its word, its function, and what it is done once for."""

    word: str
    work: Callable[[RunStep], None]
    per: Literal["database", "company"]


@dataclass(frozen=True)
class Job:
    """A job as retailers know it: its steps in order, and further names that find it."""

    code: str
    title: str
    sentence: str
    steps: tuple[Step, ...]
    names: tuple[str, ...] = ()


UPLOAD = Step("upload", upload_events, per="database")
CONVERT = Step("convert", convert_customers, per="company")
DOWNLOAD = Step("download", download_accounts, per="database")

JOBS = {
    job.code: job
    for job in (
        Job(
            "pipeline",
            "Pipeline",
            "P-job, conversion and 1010, one after the other.",
            (UPLOAD, CONVERT, DOWNLOAD),
        ),
        Job(
            "P-0001",
            "P-job: upload from the channels",
            "Brings every new event from the channels to headquarters.",
            (UPLOAD,),
            ("p-job",),
        ),
        Job(
            "sync-customers",
            "Synchronize customers and business partners from async mode",
            "Gives every uploaded customer an account number.",
            (CONVERT,),
            (
                "synchronize-customers-and-channel-requests",
                "synchronize-customers-and-business-partners-from-async-mode",
            ),
        ),
        Job(
            "1010",
            "1010: customers to the channels",
            "Hands accounts and changes to every channel.",
            (DOWNLOAD,),
        ),
    )
}


def find_job(name: str) -> Job | None:
    """The job that answers to a name, whatever its case."""
    wanted = name.strip().lower()
    for job in JOBS.values():
        if wanted in (job.code.lower(), *job.names):
            return job
    return None
