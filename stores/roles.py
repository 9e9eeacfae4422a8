"""Who may do what: the groups of the demo's users, and an example for a real installation."""

from django.contrib.auth.models import Group, Permission

SET_UP = (
    *("company", "numbersequence", "channel", "channeldatabase", "channeldatabasegroup"),
    *("attributedefinition", "paymentrounding", "schedule"),
)
READ_ONLY = ("customer", "guidmap", "jobrun", "uploadsession", "downloadsession", "quarantine")
OPERATOR = ("stores.run_job", "stores.control_job", "stores.resolve_quarantine")
# Permissions of each group; whoever is in none may look at every page of the portal.
RIGHTS: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "operator": (*OPERATOR, "stores.calc_statement"),
    "manager": (
        *OPERATOR,
        "stores.calc_statement",
        "stores.post_statement",
        "stores.dismiss_quarantine",
        "stores.change_customer",
        "stores.mend_transaction",
        "stores.release_hold",
        "stores.cancel_statement",
        "stores.export",
    ),
    "auditor": ("stores.export",),
    "administrator": (
        "stores.release_fence",
        *(f"stores.{verb}_{name}" for name in SET_UP for verb in ("view", "add", "change")),
        *("stores.delete_attributedefinition", "stores.delete_paymentrounding"),
        "stores.delete_schedule",
        *(f"stores.view_{name}" for name in READ_ONLY),
        *(
            f"auth.{verb}_{name}"
            for name in ("user", "group")
            for verb in ("view", "add", "change")
        ),
    ),
}


def make_groups() -> None:
    """Make the groups with their rights; rights that somebody added stay."""
    for name, rights in RIGHTS.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*filter(None, map(found, rights)))


def found(right: str) -> Permission | None:
    """The permission that is written as app.codename."""
    app, codename = right.split(".")
    wanted = Permission.objects.filter(content_type__app_label=app, codename=codename)
    return wanted.first()


def groups_with(*rights: str) -> list[str]:
    """The names of the groups that have all of the permissions, in their order."""
    groups = Group.objects.order_by("name")
    for right in rights:
        app, codename = right.split(".")
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
