"""API calls about templates."""

from __future__ import annotations

from typing import Any, Callable, Optional

from storpool_addon.errors import StorPoolNonsense
from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import Asking, found, policy_body
from storpool_addon.storpool.records import Policy, Template, TemplateStatus
from storpool_addon.storpool.repeat import DELETE, RESEND, confirmed_by

Odd = Optional[Callable[[StorPoolNonsense], None]]


class TemplateCalls(Asking):
    """Templates say how the data of volumes and snapshots are placed and limited."""

    def volume_templates_list(self, odd: Odd = None) -> list[Template]:
        """All templates. odd: is told of each that cannot be read, in place of failing for all."""
        return reading.list_of(reading.template, self._get("VolumeTemplatesList"), odd)

    def volume_templates_status(self, odd: Odd = None) -> list[TemplateStatus]:
        """Capacity and free space of all templates. odd: as above."""
        return reading.list_of(reading.template_status, self._get("VolumeTemplatesStatus"), odd)

    def volume_template_describe(self, template: str, *, until: float | None = None) -> Template:
        """One template. until: a deadline of the caller's own, by `Api`'s clock."""
        return reading.template(self._get("VolumeTemplateDescribe", template, until=until))

    def volume_template_create(
        self, name: str, *, policy: Policy, size: int | None = None, parent: str | None = None
    ) -> None:
        """Make a template. size, parent: of volumes that are made without."""
        body = {"name": name, "size": size, "parent": parent, **policy_body(policy)}

        def confirm(until: float) -> dict[str, Any] | None:
            there = found(lambda: self.volume_template_describe(name, until=until))
            return {} if there is not None and _is_as(there, policy) else None

        self._post("VolumeTemplateCreate", body=body, about=name, repeat=confirmed_by(confirm))

    def volume_template_update(
        self,
        template: str,
        *,
        rename: str | None = None,
        policy: Policy | None = None,
        size: int | None = None,
        parent: str | None = None,
        propagate: bool | None = None,
    ) -> None:
        """Change a template. propagate: and the volumes and snapshots that it has already."""
        body = {
            "rename": rename,
            "size": size,
            "parent": parent,
            "propagate": propagate,
            **policy_body(policy),
        }

        def renamed(until: float) -> dict[str, Any] | None:
            if found(lambda: self.volume_template_describe(rename or "", until=until)) is None:
                return None
            old = found(lambda: self.volume_template_describe(template, until=until))
            return {} if old is None else None

        repeat = confirmed_by(renamed) if rename else RESEND
        self._post("VolumeTemplateUpdate", template, body=body, repeat=repeat)

    def volume_template_delete(self, template: str) -> None:
        """Delete a template; its volumes stay."""
        self._post("VolumeTemplateDelete", template, repeat=DELETE)


def _is_as(template: Template, policy: Policy) -> bool:
    given = {key: value for key, value in policy._asdict().items() if value is not None and value != "-"}
    there = template._asdict()
    return all(there[key] == value for key, value in given.items())
