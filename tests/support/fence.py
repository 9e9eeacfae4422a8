"""What the fence has noted of a channel's latest visit, and a step that makes a visit."""

from uuid import uuid4

from stores.hqdb.sql import fetch_one
from stores.models import ChannelDatabase, Incident, JobRun, RunStep
from stores.models.job import JobCode
from stores.models.run import RunStatus
from tests.support.make import query


def token_in_channel(database):
    """Epoch and nonce of the latest visit, as the channel holds them."""
    [(epoch, nonce)] = query(database, "SELECT epoch, nonce FROM exchange_state")
    return epoch, str(nonce)


def token_at_hq(database):
    """Epoch and nonce of the latest visit, as HQ has confirmed them."""
    database = ChannelDatabase.objects.get(pk=database.pk)
    return database.confirmed_epoch, str(database.confirmed_nonce)


def open_incidents(database):
    incidents = Incident.objects.open().filter(database=database).order_by("pk")
    return [incident.kind for incident in incidents]


JOB_OF_STEP = {"upload": JobCode.UPLOAD, "download": JobCode.DOWNLOAD}


def make_step(database, name="upload"):
    """A running step of a run that a worker has claimed."""
    job = JOB_OF_STEP[name]
    job_run = JobRun.objects.create(job=job, scope=str(uuid4()), status=RunStatus.RUNNING)
    return RunStep.objects.create(
        run=job_run,
        position=1,
        step=name,
        database=database,
        status=RunStatus.RUNNING,
        fencing_no=fetch_one("SELECT nextval('run_step_fencing')")[0],
    )
