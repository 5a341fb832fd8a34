"""What a record means: which signals a user's process may have got, and from when on."""

from __future__ import annotations

from dataclasses import dataclass

from tests.schedules.act import Attempt
from tests.schedules.plan import AUX, Container, Schedule
from tests.schedules.record import Deed, Life, Record

MS = 1_000_000
STOPS = {2, 3, 9, 15}  # end a wrapper that has not started its command
ENDS = STOPS | {1}  # get a grace period when the control socket is asked for them
FINISHES = {1, 2, 3, 15}  # let `wait` finish up
# Time between two things that follow from each other at once.
INSTANT_MS = 100
# Time for a whole container to react, or to start.
MOMENT_MS = 1500
API_MOMENT_MS = 6000
# Why somebody is killed who has not ended by himself.
LAST_MEANS = ("grace over", "cleared away")
# What the tests' own process has to wait for once, the others may have to wait for several times.
LAGS = 3
# A wrapper and `wait` that have been there for so long know each other.
ACQUAINTED_MS = 100


@dataclass
class Possible:
    """A signal that may have reached a command or its wrapper, not before a moment."""

    signo: int
    since: int
    is_certain: bool = False


def parse_signal(text: str) -> int | None:
    """What a signal file says; None for garbage."""
    text = text.strip(" \t\r\n")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text) if 1 <= int(text) <= 64 else None


class Facts:
    def __init__(self, plan: Schedule, record: Record, patience: float):
        self.plan = plan
        self.record = record
        api = API_MOMENT_MS if plan.api_faults else 0
        # What is frozen, has no reader, or is not given the processor, reacts later.
        delays = sum(event.span for event in plan.events if event.kind == "freeze")
        delays += LAGS * record.lag // MS
        delays += max(c.stall for c in plan.containers)
        self.instant = int((INSTANT_MS * patience + delays) * MS)
        self.moment = int((MOMENT_MS * patience + delays) * MS)
        self.api_moment = self.moment + int(api * patience * MS)
        self.acquainted = int((ACQUAINTED_MS * patience + delays) * MS)
        self.grace = plan.grace * 1000 * MS
        self.possible = {c.name: self._possible(c) for c in plan.containers if c.role != "aux"}

    # --- deeds ---------------------------------------------------------------------------------

    def signals(self, name: str) -> list[Deed]:
        """Sent to the container's first process."""
        deeds = self.record.deeds
        return [d for d in deeds if d.kind in ("signal", "exec") and d.target == name and d.signo]

    def killings(self, name: str) -> list[Deed]:
        signals = self.signals(name)
        return [d for d in signals if d.kind == "signal" and d.signo == 9 and d.has_worked]

    def was_killed(self, name: str) -> bool:
        return bool(self.killings(name))

    def was_hit_by(self, name: str, why: str) -> bool:
        return any(d.text == why and d.has_worked for d in self.signals(name))

    def removed(self, *paths: str) -> bool:
        """One of these, or what it lies in, was removed."""
        for deed in self.record.deeds:
            if deed.kind == "remove" and deed.has_worked:
                if deed.text == "*" or any(f"{p}/".startswith(f"{deed.text}/") for p in paths):
                    return True
        return False

    def aux_stops(self) -> list[Possible]:
        """Requests to `wait` to finish up."""
        return [
            Possible(deed.signo, deed.began, deed.is_certain)
            for deed in self.signals(AUX)
            if deed.signo in FINISHES
        ]

    @property
    def is_quiet(self) -> bool:
        """Nobody was killed, frozen or robbed of files, until the pod's time was up."""
        bad = {"remove"} & {deed.kind for deed in self.record.deeds}
        return not bad and not any(
            d.signo in (9, 19) and d.text not in LAST_MEANS
            for d in self.record.deeds
            if d.kind in ("signal", "exec")
        )

    # --- what may have reached a command -------------------------------------------------------

    def _possible(self, container: Container) -> list[Possible]:
        found = []
        for deed in self.signals(container.name):
            if deed.signo == 9 and deed.kind == "signal":
                continue  # ends the wrapper itself
            certain = deed.is_certain and deed.signo != 9
            found.append(Possible(deed.signo, deed.began, certain))
        for deed in self.record.deeds:
            if deed.kind == "file" and deed.target == container.name:
                signo = parse_signal(deed.text)
                certain = self._is_certain_file(container, deed)
                found += [Possible(signo, deed.began, certain)] if signo else []
            if deed.kind == "control":
                found += self._of_control(container, deed)
        found += self._of_own_file(container)
        if container.role == "main":
            found += self._of_aux()
        else:
            found += self._of_mains()
        return found

    def _is_certain_file(self, container: Container, deed: Deed) -> bool:
        """Whoever looks for it is there, and nothing else was asked for through `wait`."""
        life, aux = self.record.lives.get(container.name), self.record.lives.get(AUX)
        others = [d for d in self.record.deeds if d.kind in ("file", "control") and d is not deed]
        if not life or not life.seen or others or container.part.file or not self.is_quiet:
            return False
        if self.plan.deadline is not None or self.aux_stops():
            return False
        if container.role == "main" and self.know_each_other(container.name, deed.began):
            return True
        is_alone = not aux or aux.started > deed.ended + self.instant
        return is_alone and life.seen + self.acquainted <= deed.began

    def _of_control(self, container: Container, deed: Deed) -> list[Possible]:
        signo = deed.body.get("signal", 15)
        if container.role != "main":
            return []
        if container.name not in deed.body.get("containers", [container.name]):
            return []
        found = [Possible(signo, deed.began)]
        if signo in ENDS:
            grace = deed.body.get("graceSeconds", self.plan.grace)
            found.append(Possible(9, deed.began + grace * 1000 * MS))
        return found

    def _of_own_file(self, container: Container) -> list[Possible]:
        life = self.record.lives.get(container.name)
        if not container.part.file or not life or not life.attempts:
            return []
        signo = parse_signal(container.part.file.split(":", 2)[2])
        return [Possible(signo, life.started)] if signo else []

    def _of_aux(self) -> list[Possible]:
        aux = self.record.lives.get(AUX)
        if not aux:
            return []
        found = []
        if self.plan.deadline is not None:
            found = [Possible(15, aux.started), Possible(9, aux.started + self.grace)]
        # One that has not come is asked to end when it does.
        found += [Possible(15, stop.since) for stop in self.aux_stops()]
        # min(g/2, max(5 s, g/5)) of the grace period are kept for saving: half of such short ones.
        found += [Possible(9, stop.since + self.grace // 2) for stop in self.aux_stops()]
        return found

    def _of_mains(self) -> list[Possible]:
        mains = [self.record.lives.get(c.name) for c in self.plan.mains]
        if not all(mains):
            return []
        since = max(_earliest_end(main) for main in mains if main)
        return [Possible(15, since), Possible(9, since + self.grace)]

    def kills(self, container: Container, possible: Possible, attempt: Attempt) -> bool:
        """This signal may have ended that attempt."""
        if attempt.ended and possible.since > attempt.ended + self.instant:
            return False
        if possible.signo == 9:
            return True
        if not attempt.ready or possible.since <= attempt.ready + self.instant:
            return possible.signo == 13 or container.part.dies_of(possible.signo) or (
                possible.signo == 15
            )
        return container.part.dies_of(possible.signo)

    def is_standing_still(self, container: Container, attempt: Attempt | None) -> bool:
        """The command is, or may be, stopped by job control, and sees no SIGTERM."""
        if attempt and attempt.stopped:
            return True
        return any(p.signo in (19, 20, 21, 22) for p in self.possible[container.name])

    def know_each_other(self, name: str, at: int) -> bool:
        """The wrapper and `wait` certainly were connected at that moment."""
        aux, life = self.record.lives.get(AUX), self.record.lives[name]
        if not aux or self.removed("wait.sock") or "freeze" in self.plan.kinds():
            return False
        if not aux.seen or not life.seen:
            return False
        at = min([at] + [deed.began for deed in self.killings(name) + self.killings(AUX)])
        return max(aux.seen, life.seen) + self.acquainted <= at <= aux.ended


def _earliest_end(life: Life) -> int:
    last = life.attempts[-1] if life.attempts else None
    return (last.ended or last.started) if last and last.started else life.started
