"""Jobs 1070 and 1110: send settings to the channels.

Tills go by the settings in their own database, so a change at HQ has no effect in a channel before
a job has brought it there. What the database holds is read at each visit: one that was restored
from a backup gets again what it lacks.
"""

from django.utils import timezone

from stores.models import DistributedSettings, RunStep
from stores.models.job import JobCode
from stores.pipeline.configuration.distributed import is_same
from stores.pipeline.configuration.effective import Settings, effective_settings
from stores.pipeline.fence.visit import enter


def send_channel_configuration(step: RunStep) -> None:
    """Send a channel database the settings of its channel: its profile, its default customer."""
    send_settings(step, JobCode.CHANNEL_CONFIGURATION)


def send_global_configuration(step: RunStep) -> None:
    """Send a channel database what holds for all channels of its company, such as features."""
    send_settings(step, JobCode.GLOBAL_CONFIGURATION)


def send_settings(step: RunStep, job: JobCode) -> None:
    """Write the settings of a job that the database does not hold yet, in one transaction.

    Effects: channel_setting in the channel; then HQ's note of what the database holds.
    """
    settings = effective_settings([step.its_database])[step.its_database.pk][job]
    with enter(step) as channel:
        held = channel.read_settings(list(settings))
        changed = {
            key: value
            for key, value in settings.items()
            if key not in held or not is_same(held[key], value)
        }
        if changed and not step.is_dry:
            step.check_stop()
            channel.write_settings(changed)
    with step.chunk(may_stop=False):
        step.add(distributed=len(changed), unchanged=len(settings) - len(changed))
        if not step.is_dry:
            note_settings(step, job, settings)


def note_settings(step: RunStep, job: JobCode, settings: Settings) -> None:
    """Note what the database holds, unless HQ knows it already."""
    known = DistributedSettings.objects.filter(database=step.its_database, job=job)
    if (noted := known.first()) is None or not is_same(noted.settings, settings):
        DistributedSettings.objects.update_or_create(
            database=step.its_database,
            job=job,
            defaults={"settings": settings, "confirmed_at": timezone.now()},
        )
