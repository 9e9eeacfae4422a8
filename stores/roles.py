"""Who may do what: the groups of the demo's users, and an example for a real installation."""

from django.contrib.auth.models import Group, Permission

RIGHTS = {
    "operator": ("run_job", "resolve_quarantine"),
    "manager": (
        "run_job",
        "resolve_quarantine",
        "dismiss_quarantine",
        "change_customer",
        "mend_transaction",
        "release_hold",
    ),
}


def make_groups() -> None:
    """Make the groups with their rights; rights that somebody added stay."""
    for name, rights in RIGHTS.items():
        group, _ = Group.objects.get_or_create(name=name)
        found = Permission.objects.filter(content_type__app_label="stores", codename__in=rights)
        group.permissions.add(*found)
