"""Carries out the events of a schedule, and keeps what came of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from tests.schedules.plan import AUX, Event
from tests.schedules.record import Deed

if TYPE_CHECKING:
    from tests.schedules.play import Player

# A kubelet's SIGKILL comes this much after the grace period: what has to be done within it is
# checked by the moment at which it was done.
LENIENCE_MS = 1500
# From a first look at a zombie to the next one.
ZOMBIE_MS = 80
AMBUSH_SECONDS = 0.05


def do(player: Player, event: Event) -> None:
    globals()[f"_do_{event.kind}"](player, event)


def _do_signal(player: Player, event: Event) -> None:
    if cell := player.cells.get(event.target):
        player.kill(cell, event.signo, "signal")


def _do_ambush(player: Player, event: Event) -> None:
    """Spins: what is to be hit takes less than a millisecond."""
    cell = player.cells.get(event.target)
    if not cell and event.target in player.expected:
        player.after(1, lambda: _do_ambush(player, event))
    if not cell:
        return
    if cell.pid == 0 and cell.status is None:
        player.early.setdefault(cell.name, []).append(lambda: _do_ambush(player, event))
        return
    end = time.monotonic() + AMBUSH_SECONDS
    while cell.is_alive and not cell.blocks(event.signo) and time.monotonic() < end:
        pass
    player.kill(cell, event.signo, "ambush")


def _do_kill(player: Player, event: Event) -> None:
    if cell := player.cells.get(event.target):
        player.kill(cell, signal.SIGKILL, "kill")


def _do_freeze(player: Player, event: Event) -> None:
    if cell := player.cells.get(event.target):
        player.kill(cell, signal.SIGSTOP, "freeze")
        player.after(event.span, lambda: player.kill(cell, signal.SIGCONT, "thaw"))


def _do_exec(player: Player, event: Event) -> None:
    exec_kill(player, [event.target], event.signo, "exec")


def _do_stop(player: Player, event: Event) -> None:
    """As a controller stops a step: main containers, then wait, one after the other."""
    exec_kill(player, [c.name for c in player.plan.mains] + [AUX], 15, "stop")


def exec_kill(player: Player, targets: list[str], signo: int, why: str) -> None:
    """`argoexec kill SIGNO 1` in each target."""
    if not targets:
        return
    name, *others = targets
    cell = player.cells.get(name)
    if not cell or not cell.is_alive:
        exec_kill(player, others, signo, why)
        return
    deed = player.note(Deed("exec", name, time.monotonic_ns(), signo=signo, text=why))
    # Before, not after: a wrapper that ends of it is gone by then.
    blocks = cell.blocks(signo)

    def done(code: int) -> None:
        deed.ended = time.monotonic_ns()
        deed.has_worked = code == 0
        deed.is_certain = code == 0 and blocks
        player.say(f"{why}: exec of kill {signo} 1 in {name}: {code}")
        exec_kill(player, others, signo, why)

    player.run_exec(cell.enter("/argoexec", "kill", str(signo), "1"), done)


def _do_control(player: Player, event: Event) -> None:
    body = json.dumps(event.body).encode()
    head = f"POST /v1/terminate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"Connection: close\r\n\r\n" + body
    deed = player.note(Deed("control", AUX, time.monotonic_ns(), body=event.body))

    def done(answer: bytes) -> None:
        deed.ended = time.monotonic_ns()
        deed.text = answer.decode(errors="replace")
        deed.has_worked = answer.startswith(b"HTTP/1.1 202")
        player.say(f"control {event.body}: {deed.text.splitlines()[-1] if answer else 'no answer'}")

    player.ask(request, done)


def _do_file(player: Player, event: Event) -> None:
    deed = player.note(Deed("file", event.target, time.monotonic_ns(), text=event.text))
    directory = player.argo / "ctr" / event.target
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in (directory, directory.parent):
            path.chmod(0o777)
        (directory / "signal").write_text(event.text)
        deed.has_worked = True
    except OSError as error:
        player.say(f"file signal of {event.target}: {error}")
    deed.ended = time.monotonic_ns()
    player.say(f"file signal of {event.target}: {event.text!r}")


def _do_remove(player: Player, event: Event) -> None:
    deed = player.note(Deed("remove", event.target, time.monotonic_ns(), text=event.text))
    names = os.listdir(player.argo) if event.text == "*" else [event.text]
    for name in names:
        path = player.argo / name
        try:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
            deed.has_worked = True
        except OSError:
            pass  # not there, or not any more
    deed.ended = time.monotonic_ns()
    player.say(f"remove {event.text}{'' if deed.has_worked else ': not there'}")


def _do_look(player: Player, event: Event) -> None:
    """Whoever is a zombie now, and still is one later, is not waited for."""
    cell = player.cells.get(event.target)
    if not cell or not cell.is_alive or "freeze" in player.plan.kinds():
        return
    first = cell.zombies()

    def look_again() -> None:
        left = first & cell.zombies()
        if left and cell.is_alive and not any(
            deed.target == cell.name and deed.signo == signal.SIGKILL
            for deed in player.record.deeds
        ):
            player.record.problems.append(f"zombies in {cell.name}: {len(left)} of {len(first)}")

    if first:
        player.after(ZOMBIE_MS * player.patience, look_again)


def delete_pod(player: Player) -> None:
    """As a kubelet does: SIGTERM to all at once, SIGKILL to who is left after the grace period."""
    player.note(Deed("delete", "", time.monotonic_ns(), time.monotonic_ns()))
    player.start_no_more()
    for cell in player.cells.values():
        player.kill(cell, signal.SIGTERM, "delete")

    def kill_rest() -> None:
        for cell in player.cells.values():
            if cell.is_alive:
                player.kill(cell, signal.SIGKILL, "grace over")

    player.after(player.plan.grace * 1000 + LENIENCE_MS * player.patience, kill_rest)
