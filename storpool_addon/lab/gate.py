"""The simulator's gate in the lab: the conductor is asked about each API call."""

from __future__ import annotations

from storpool_addon.lab.conductor import AFTER, BEFORE, Conductor, Ticket
from storpool_addon.simulator import LOSE, REFUSE, Moment, Verdict


class Gate:
    """Asks the conductor about each API call of the simulator."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._tickets: dict[int, Ticket] = {}

    def __call__(self, moment: Moment) -> Verdict | None:
        """The simulator's gate."""
        if moment.when == BEFORE:
            ticket = self._conductor.enter("api", _described(moment))
            if not ticket.may_act:
                return Verdict.error("invalidParam", "refused by the lab") if ticket.is_refused else REFUSE
            self._tickets[moment.number] = ticket
            return None
        assert moment.when == AFTER
        return None if self._tickets.pop(moment.number).may_answer() else LOSE


def _described(moment: Moment) -> str:
    """The call with the objects that it names: the same text for the same call of a later run."""
    names = list(moment.args)
    body = moment.body if isinstance(moment.body, dict) else {}
    names += [str(body[key]) for key in ("name", "rename") if key in body]
    names += [str(each.get("volume") or each.get("snapshot")) for each in body.get("reassign", ())]
    return " ".join([moment.query, *names])
