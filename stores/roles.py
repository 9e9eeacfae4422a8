"""Who may do what: the groups of the demo's users, and an example for a real installation."""

from django.contrib.auth.models import Group, Permission

CONFIGURATION_MODELS = (
    *("company", "numbersequence", "channel", "channeldatabase", "channeldatabasegroup"),
    *("attributedefinition", "paymentrounding", "schedule"),
    *("functionalityprofile", "featureset", "schedulerjob", "affiliation", "customergroup"),
    "parameter",
)
VIEW_ONLY_MODELS = (
    "customer",
    "guidmap",
    "jobrun",
    "uploadsession",
    "downloadsession",
    "quarantine",
)
OPERATOR_PERMISSIONS = (
    "stores.run_job",
    "stores.control_job",
    "stores.resolve_quarantine",
    "stores.calc_statement",
    "stores.use_till",
)
# Permissions of each group; whoever is in none may look at every page of the portal.
ROLE_PERMISSIONS: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "operator": OPERATOR_PERMISSIONS,
    "manager": (
        *OPERATOR_PERMISSIONS,
        "stores.post_statement",
        "stores.dismiss_quarantine",
        "stores.change_customer",
        "stores.mend_transaction",
        "stores.release_hold",
        "stores.cancel_statement",
        "stores.manage_token",
        "stores.export",
    ),
    "auditor": ("stores.export",),
    "administrator": (
        "stores.release_fence",
        "stores.manage_token",
        "stores.use_till",
        # What was set up is distributed and tried out.
        "stores.run_job",
        *(
            f"stores.{verb}_{name}"
            for name in CONFIGURATION_MODELS
            for verb in ("view", "add", "change")
        ),
        *(
            f"stores.delete_{name}"
            for name in ("attributedefinition", "paymentrounding", "schedule")
        ),
        *(
            f"stores.delete_{name}"
            for name in (
                *("functionalityprofile", "featureset", "affiliation", "customergroup"),
                "parameter",
            )
        ),
        *(f"stores.view_{name}" for name in VIEW_ONLY_MODELS),
        *(
            f"auth.{verb}_{name}"
            for name in ("user", "group")
            for verb in ("view", "add", "change")
        ),
    ),
}


def make_groups() -> None:
    """Make the groups with their rights; rights that somebody added stay."""
    rows = Permission.objects.values_list("content_type__app_label", "codename", "pk")
    known = {f"{app}.{codename}": key for app, codename, key in rows}
    for name, permissions in ROLE_PERMISSIONS.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*(known[right] for right in permissions if right in known))


def groups_with(*permissions: str) -> list[str]:
    """The names of the groups that have all of the permissions, in their order."""
    groups = Group.objects.order_by("name")
    for permission in permissions:
        app, codename = permission.split(".")
        groups = groups.filter(
            permissions__content_type__app_label=app, permissions__codename=codename
        )
    return list(groups.values_list("name", flat=True))


def who_may(*permissions: str) -> str:
    """The groups whose users have all of the permissions, in a sentence."""
    groups = groups_with(*permissions)
    if not groups:
        return "No group has it."
    if len(groups) == 1:
        return f"It is granted to the group {groups[0]}."
    return f"It is granted to the groups {', '.join(groups[:-1])} and {groups[-1]}."
