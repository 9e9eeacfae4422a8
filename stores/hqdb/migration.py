"""Migrations of HQ's database that are done in seconds.

After each operation Django makes the classes of all models anew that are related to the changed
one. Here nearly all are, which took nine tenths of the time of a new installation. Most operations
look at the class of one model only.
"""

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

OF_ONE_MODEL = (
    migrations.AddConstraint,
    migrations.RemoveConstraint,
    migrations.AddIndex,
    migrations.RemoveIndex,
    migrations.AddField,
    migrations.RemoveField,
)


class QuickMigration(migrations.Migration):
    """Leaves the classes of related models as they were, until an operation may look at them."""

    def apply(
        self,
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,
    ) -> ProjectState:
        if collect_sql:
            return super().apply(project_state, schema_editor, collect_sql)
        state, is_stale = project_state, False
        for operation in self.operations:
            if model := self.only_model(operation, state):
                before, is_stale = state.clone(), True
                self.change_model(model, operation, state)
            else:
                if is_stale:
                    state.clear_delayed_apps_cache()
                before, is_stale = state.clone(), False
                operation.state_forwards(self.app_label, state)
            operation.database_forwards(self.app_label, schema_editor, before, state)
        if is_stale:
            state.clear_delayed_apps_cache()
        return state

    def only_model(self, operation: Operation, state: ProjectState) -> str:
        """The name of the model, if the operation looks at the class of no other one."""
        if isinstance(operation, migrations.CreateModel | migrations.AlterModelOptions):
            return operation.name_lower
        if isinstance(operation, OF_ONE_MODEL):
            return operation.model_name_lower
        if isinstance(operation, migrations.AlterField):
            fields = state.models[self.app_label, operation.model_name_lower].fields
            if not any(map(may_be_referred_to, (fields[operation.name], operation.field))):
                return operation.model_name_lower
        return ""

    def change_model(self, model: str, operation: Operation, state: ProjectState) -> None:
        """Change the state, and make the class of this model anew."""
        apps, key = state.apps, (self.app_label, model)
        # Without classes the state makes none.
        del state.apps
        operation.state_forwards(self.app_label, state)
        state.apps = apps
        apps.unregister_model(*key)
        apps.render_multiple([state.models[key]])
        # Has code in migrations get new classes of all models.
        state.is_delayed = True


def may_be_referred_to(field: Any) -> bool:
    """Whether a column may belong to a relation, at either end."""
    return bool(field.is_relation or field.unique)
