"""Schedules: everything that a seed decides. Times are milliseconds from the pod's start."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.schedules.act import FOR_EVER, Part

Json = dict[str, Any]

AUX = "aux"
DYING = [1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 15, 34, 64]
SENT = [1, 2, 3, 10, 12, 18, 20, 28, 33, 40]
GARBAGE = ["", "x", "0", "65", "-9", "9" * 40, "15 15", "1\x005", "99999999999999999999"]
API_FAULTS: list[Json] = [
    {"kind": "status", "status": 503, "headers": {"Retry-After": "0"}},
    {"kind": "status", "status": 500, "message": "etcdserver: leader changed"},
    {"kind": "reset"},
    {"kind": "lost"},
    {"kind": "truncate"},
    {"kind": "delay", "seconds": 0.05},
    {"kind": "concurrent_write", "patch": {"metadata": {"annotations": {"by": "another"}}}},
]


@dataclass
class Container:
    name: str
    role: str  # "main", "sidecar", "aux"
    start: int | None  # None: never
    part: Part = field(default_factory=Part)
    dependencies: list[str] = field(default_factory=list)
    has_terminal: bool = False
    stall: int = 0  # so long nobody reads its output


@dataclass
class Event:
    at: int
    kind: str
    target: str = ""
    signo: int = 0
    text: str = ""
    body: Json = field(default_factory=dict)
    span: int = 0

    def __str__(self) -> str:
        details = [self.target, f"signal {self.signo}" if self.signo else "", repr(self.text)]
        details += [json.dumps(self.body) if self.body else "", f"{self.span} ms"]
        shown = [text for text in details if text not in ("", "''", "0 ms")]
        return f"{self.kind} {' '.join(shown)}"


@dataclass
class Schedule:
    seed: int
    is_set: bool
    is_supervised: bool
    is_captured: bool
    grace: int  # seconds
    deadline: int | None  # seconds, whole ones, from the second in which the pod starts
    retries: int
    pause: int
    containers: list[Container]
    events: list[Event] = field(default_factory=list)
    api_faults: list[Json] = field(default_factory=list)
    delete_at: int | None = None  # the pod, by the kubelet: SIGTERM to all, SIGKILL after the grace
    follow_up: int | None = None  # so long after the last main the controller stops aux

    @property
    def mains(self) -> list[Container]:
        return [c for c in self.containers if c.role == "main"]

    @property
    def aux(self) -> Container:
        return self.container(AUX)

    def container(self, name: str) -> Container:
        return next(c for c in self.containers if c.name == name)

    def kinds(self) -> set[str]:
        return {event.kind for event in self.events}

    def template(self) -> str:
        fields: Json = {"name": "t", "outputs": {}}
        if self.is_set:
            members = [{"name": c.name, "dependencies": c.dependencies} for c in self.mains]
            fields["containerSet"] = {"containers": members}
            if self.retries:
                strategy = {"retries": str(self.retries), "duration": f"{self.pause}ms"}
                fields["containerSet"]["retryStrategy"] = strategy
        else:
            fields["container"] = {"image": "none", "command": ["/actor"]}
        fields["sidecars"] = [{"name": c.name} for c in self.containers if c.role == "sidecar"]
        return json.dumps(fields)

    def horizon(self) -> int:
        """When all that is planned has happened, undisturbed."""
        times = [event.at + event.span for event in self.events] + [self.delete_at or 0]
        longest = sum((c.start or 0) + max(c.part.life, 0) for c in self.containers)
        return max(*times, longest * max(self.retries, 1) + self.retries * self.pause)


def schedule_of(seed: int) -> Schedule:
    return _Maker(seed).make()


class _Maker:
    def __init__(self, seed: int):
        self.seed = seed
        self.rng = random.Random(seed)

    def make(self) -> Schedule:
        rng = self.rng
        layout = rng.choice(["single", "single", "set", "set", "sidecar"])
        plan = Schedule(
            seed=self.seed,
            is_set=layout == "set",
            is_supervised=rng.random() < 0.25,
            is_captured=rng.random() < 0.5,
            grace=rng.choice([1, 1, 1, 2]),
            deadline=rng.choice([None] * 9 + [-5, 0, 1]),
            retries=rng.choice([0, 2, 3]) if layout == "set" else 0,
            pause=rng.choice([0, 1, 20, 50]),
            containers=self._containers(layout),
        )
        for container in plan.mains:
            container.part.attempts = rng.choice([0, plan.retries]) if plan.retries else 0
        for _ in range(rng.choice([0, 0, 1, 1, 1, 1, 2, 2, 3, 5])):
            plan.events.append(self._event(plan))
        self._look_for_zombies(plan)
        if rng.random() < 0.25:
            plan.api_faults = self._api_faults()
        if rng.random() < 0.3:
            plan.follow_up = rng.choice([0, 0, 1, 10, 100])
        plan.delete_at = self._delete_at(plan)
        plan.events.sort(key=lambda event: event.at)
        return plan

    # --- containers ----------------------------------------------------------------------------

    def _containers(self, layout: str) -> list[Container]:
        rng = self.rng
        names = ["main"]
        if layout == "set":
            names = rng.sample(["main", "a", "b"], rng.choice([1, 2, 2, 3]))
        mains = [self._container(name, "main") for name in names]
        for i, container in enumerate(mains):
            container.dependencies = [other for other in names[:i] if rng.random() < 0.6]
        others = [Container(AUX, "aux", self._start())]
        if layout == "sidecar":
            sidecar = self._container("side", "sidecar")
            if rng.random() < 0.7:
                sidecar.part.life = FOR_EVER
            others.append(sidecar)
        everybody = others + mains
        rng.shuffle(everybody)
        return everybody

    def _start(self) -> int | None:
        rng = self.rng
        if rng.random() < 0.02:
            return None
        return rng.choice([0, 0, 0, 0, rng.randrange(5), rng.randrange(50), rng.randrange(200)])

    def _container(self, name: str, role: str) -> Container:
        rng = self.rng
        container = Container(name, role, self._start(), self._part(name))
        container.has_terminal = rng.random() < 0.12
        if rng.random() < 0.1 and not container.has_terminal:
            container.stall = rng.randrange(10, 400)
            # Less and more than two pipes hold.
            container.part.lines = rng.choice([1, 30, 100])
            container.part.width = 3000
        return container

    def _part(self, name: str) -> Part:
        rng = self.rng
        part = Part(
            life=rng.choice([0, 0, 1, 5, 20, 50, 100, 200, 300, 600, FOR_EVER]),
            code=rng.choice([0, 0, 0, 0, 1, 2, 64, 65, 137, 143, 255, rng.randrange(256)]),
            codes=rng.choice([1, 1, 7]),
            term=rng.choice(["default", "default", "handle", "handle", "ignore"]),
            lines=rng.choice([0, 1, 5, 50, 50]),
            width=rng.choice([20, 20, 200, 3000]),
        )
        if rng.random() < 0.15:
            part.die = rng.choice(DYING)
        if part.term == "handle":
            part.tcode = rng.choice([0, 0, 3, 143])
            part.tdelay = rng.choice([0, 0, 1, 20, 100])
            part.tlines = rng.choice([0, 1, 30])
        if rng.random() < 0.1 and part.lines:
            part.close = rng.randrange(part.lines + 1)
        if rng.random() < 0.2:
            part.orphan = rng.choice(["sleep", "hold", "write"])
        if rng.random() < 0.2:
            part.zombies = rng.choice([1, 3, 20])
            part.life = rng.choice([part.life, 400])
        if rng.random() < 0.15:
            part.shell = 1
        if rng.random() < 0.05:
            part.child = "stopped"
        if rng.random() < 0.04:
            part.stop = rng.randrange(100)
        if rng.random() < 0.06:
            text = rng.choice(["15", "9\n", "10"] + GARBAGE[:5])
            part.file = f"{rng.randrange(100)}:/var/run/argo/ctr/{name}/signal:{text}"
        if rng.random() < 0.2:
            part.message = "the user's own"
        return part

    # --- events --------------------------------------------------------------------------------

    def _moment(self, container: Container) -> int:
        """Near something that happens, or anywhere."""
        rng = self.rng
        start = container.start or 0
        around_end = start + max(container.part.life, 0) + rng.randrange(-3, 15)
        return max(0, rng.choice([start + rng.randrange(25), around_end, rng.randrange(400)]))

    def _event(self, plan: Schedule) -> Event:
        rng = self.rng
        users = [c for c in plan.containers if c.role != "aux"]
        container = rng.choice(plan.mains * 3 + users)
        kind = rng.choices(
            ["signal", "ambush", "exec", "stop", "control", "file", "kill", "remove", "freeze"],
            [8, 2, 3, 3, 4, 3, 3, 2, 1.5],
        )[0]
        if kind in ("signal", "exec", "kill", "freeze") and rng.random() < 0.3:
            container = plan.aux
        event = Event(self._moment(container), kind, container.name)
        fill = getattr(self, f"_fill_{kind}", None)
        if fill:
            fill(plan, event)
        return event

    def _fill_signal(self, plan: Schedule, event: Event) -> None:
        event.signo = self.rng.choice([15, 15, self.rng.choice(SENT)])
        if event.target == AUX:
            event.signo = self.rng.choice([15, 15, 15, 1, 2, 3, 10])

    def _fill_ambush(self, plan: Schedule, event: Event) -> None:
        """As soon as the first process cannot miss it."""
        event.signo = self.rng.choice([15, 15, 2])
        event.at = plan.container(event.target).start or 0

    def _fill_exec(self, plan: Schedule, event: Event) -> None:
        event.signo = self.rng.choice([15, 15, 15, 2, 9])

    def _fill_stop(self, plan: Schedule, event: Event) -> None:
        event.target = ""

    def _fill_control(self, plan: Schedule, event: Event) -> None:
        rng = self.rng
        body: Json = {}
        if rng.random() < 0.6:
            body["signal"] = rng.choice([15, 15, 9, 2, 10])
        if rng.random() < 0.4:
            body["graceSeconds"] = rng.choice([0, 0, 1])
        if rng.random() < 0.4:
            body["containers"] = [rng.choice(plan.mains).name]
        event.target, event.body = AUX, body

    def _fill_file(self, plan: Schedule, event: Event) -> None:
        rng = self.rng
        event.text = rng.choice(["15", "15\n", " 9", "9", "10", rng.choice(GARBAGE)])

    def _fill_remove(self, plan: Schedule, event: Event) -> None:
        name = event.target
        own = [f"ctr/{name}/{file}" for file in ("exitcode", "exitcode.tmp", "signal", "stdout")]
        others = ["wait.sock", "control.sock", "template", "status", "ctr", f"ctr/{name}", "*"]
        event.text = self.rng.choice(own + others)

    def _fill_freeze(self, plan: Schedule, event: Event) -> None:
        event.span = self.rng.choice([1, 10, 100, 300])

    def _look_for_zombies(self, plan: Schedule) -> None:
        for container in plan.containers:
            life = container.part.life
            if container.start is None or container.part.zombies == 0:
                continue
            if life == FOR_EVER or life >= 50:
                after = self.rng.randrange(20, 100)
                plan.events.append(Event(container.start + after, "look", container.name))

    def _api_faults(self) -> list[Json]:
        """Two at most: pauses after failures double each time."""
        rng = self.rng
        return [
            {
                "path": "/workflowtaskresults",
                "action": rng.choice(API_FAULTS),
                "probability": rng.choice([0.5, 1.0]),
                "nth": rng.choice([1, 1, 2, 3]),
                "count": rng.choice([1, 1, 2]),
                "seed": rng.randrange(1 << 30),
            }
        ]

    def _delete_at(self, plan: Schedule) -> int | None:
        """Nothing lasts for ever: what would is ended by the pod's deletion."""
        rng = self.rng
        lasts = any(
            c.start is None or c.part.life == FOR_EVER or c.part.stop >= 0 for c in plan.mains
        )
        lasts |= plan.aux.start is None or "remove" in plan.kinds()
        lasts |= any(event.kind == "kill" for event in plan.events)
        # SIGTSTP stops a process.
        lasts |= any(event.signo == 20 for event in plan.events)
        if lasts:
            return rng.randrange(150, 800)
        return rng.randrange(600) if rng.random() < 0.15 else None
