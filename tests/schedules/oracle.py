"""Judges a record: whether what came out is one of the outcomes that what was done allows.

Each check says what is wrong, or nothing. `wait` is judged in oracle_aux.py, output in
oracle_output.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.schedules.act import IGNORED_SIGNALS, STOP_SIGNALS
from tests.schedules.facts import STOPS, Facts, Possible
from tests.schedules.oracle_aux import check_aux
from tests.schedules.oracle_output import check_output
from tests.schedules.plan import AUX, Container
from tests.schedules.record import Life

STOPPED = {"137", "143"}  # what a member takes over from its dependency
TEMPORARY = (".tmp", ".tmpdir", ".new")


def judge(facts: Facts) -> list[str]:
    record = facts.record
    problems = list(record.problems)
    for container in facts.plan.containers:
        life = record.lives.get(container.name)
        if not life:
            continue
        if life.status is None or life.status[0] == "lost":
            problems.append(f"{life.name}: its end was not seen")
        elif container.role == "aux":
            problems += [f"{life.name}: {text}" for text in check_aux(facts, life)]
        else:
            problems += [f"{life.name}: {text}" for text in _check(facts, container, life)]
    problems += _leftover_requests(facts)
    return problems + list(_leftover_files(facts))


def _check(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    if life.status == ("signal", 9):
        if not facts.was_killed(container.name):
            yield "the wrapper was killed, but nobody did it"
    elif life.status and life.status[0] == "signal":
        yield f"the wrapper died of signal {life.status[1]}"
    else:
        yield from _check_code(facts, container, life)
        if not facts.removed(f"ctr/{container.name}"):
            yield from _check_message(life)
    yield from _check_file(facts, container, life)
    yield from _check_attempts(facts, container, life)
    yield from _check_order(facts, container, life)
    yield from check_output(facts, container, life)
    yield from _check_time(facts, container, life)


# --- codes ------------------------------------------------------------------------------------


def allowed_codes(facts: Facts, container: Container, life: Life) -> set[int]:
    """Of a wrapper that ended by itself."""
    possible = [p for p in facts.possible[container.name] if p.since <= life.ended]
    # Without its directory there is no file to keep the output in.
    unable = {64} if facts.removed(f"ctr/{container.name}") else set()
    if life.attempts:
        last = life.attempts[-1]
        codes = {128 + p.signo for p in possible if facts.kills(container, p, last)} | unable
        if last.code != 0 and len(life.attempts) < facts.plan.retries:
            codes |= _deaths(possible)  # of an attempt that left no record
        return codes if last.code is None else codes | {last.code}
    codes = _deaths(possible)
    if facts.removed("template") or unable:
        codes.add(64)
    for name in container.dependencies:
        other = facts.record.lives.get(name)
        is_removed = facts.removed(f"ctr/{name}/exitcode")
        left = {other.exit_code, str(other.code)} if other else set()
        codes |= {int(code) for code in STOPPED & left}
        if is_removed or not other or other.exit_code not in STOPPED | {"0"}:
            codes.add(64)
    aux = facts.record.lives.get(AUX)
    if facts.plan.is_supervised:
        is_stopped = any(p.signo in STOPS for p in possible)
        if is_stopped or (aux and (aux.code == 64 or facts.aux_stops())):
            codes.add(65)
    return codes


def _deaths(possible: list[Possible]) -> set[int]:
    """Codes of a command that died before it could say that it ran, or was stopped before that."""
    harmless = IGNORED_SIGNALS | STOP_SIGNALS
    return {128 + p.signo for p in possible if p.signo not in harmless}


def _check_code(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    codes = allowed_codes(facts, container, life)
    if life.code not in codes:
        yield f"ended with {life.code}, allowed: {sorted(codes)}"


def _check_message(life: Life) -> Iterator[str]:
    own = "the user's own"
    if life.attempts and life.code == life.attempts[-1].code and life.message not in ("", own):
        yield f"the command's plain end was given a termination message: {life.message!r}"
    if not life.attempts and life.code in (64, 65) and not life.message:
        yield f"ended with {life.code} and does not say why"


def _check_file(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    """`exitcode` says the same as the process; what a dead wrapper left is true, or nothing."""
    name, text = container.name, life.exit_code
    removed = facts.removed(f"ctr/{name}/exitcode", f"ctr/{name}/exitcode.tmp")
    if life.status and life.status[0] == "exit":
        allowed = {str(life.code)} | ({None, "137"} if removed else set())
    else:
        allowed = {str(code) for code in allowed_codes(facts, container, life)}
        allowed |= {None, "137"}
        aux = facts.record.lives.get(AUX)
        knew = container.role == "main" and not removed
        knew = knew and facts.know_each_other(name, life.ended)
        if knew and aux and aux.status and aux.status[0] == "exit":
            allowed.discard(None)
    if text not in allowed:
        yield f"exitcode holds {text!r}, allowed: {sorted(map(str, allowed))}"


# --- attempts ---------------------------------------------------------------------------------


def _check_attempts(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    attempts, most = life.attempts, max(facts.plan.retries, 1)
    is_main = container.role == "main"
    if len(attempts) > (most if is_main else 1):
        yield f"ran {len(attempts)} times"
    for number, attempt in enumerate(attempts[:-1]):
        if attempt.code == 0:
            yield f"ran again after attempt {number} had succeeded"
    for possible in facts.possible[container.name]:
        if possible.is_certain:
            yield from _check_survival(facts, container, life, possible)
    if life.status != ("exit", life.code) or life.code == 0 or not is_main or not attempts:
        return
    # An attempt that a signal ends at once leaves no record.
    is_disturbed = facts.possible[container.name] or facts.removed(f"ctr/{container.name}")
    if len(attempts) < most and not is_disturbed:
        yield f"failed with {life.code}, and was not tried again"


def _check_survival(
    facts: Facts, container: Container, life: Life, possible: Possible
) -> Iterator[str]:
    """A signal that the wrapper has got ends what runs, and lets nothing start any more."""
    signo, limit = possible.signo, possible.since + facts.instant
    for number, attempt in enumerate(life.attempts):
        if signo in STOPS and attempt.started > limit:
            yield f"attempt {number} was started after it had been stopped by signal {signo}"
        # One that got too little of the processor says little of its wrapper.
        life_ns = max(container.part.life, 0) * 1_000_000
        lateness = max(0, attempt.ended - attempt.started - life_ns)
        if attempt.code is None or attempt.ended <= limit + 3 * lateness:
            continue
        if facts.is_standing_still(container, attempt):
            continue
        # One that had not started is stopped, or meets the signal while it starts.
        is_late = attempt.started > possible.since and signo not in STOPS
        if not is_late and container.part.dies_of(signo):
            yield f"attempt {number} has survived signal {signo}"
        if signo == 15 and container.part.term == "handle" and attempt.terms == 0:
            yield f"attempt {number} has not seen SIGTERM"


def _check_order(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    first = life.attempts[0].started if life.attempts else 0
    if not first:
        return
    for name in container.dependencies:
        other = facts.record.lives.get(name)
        if not other or not other.attempts:
            yield f"ran although {name} had not run"
            continue
        last = other.attempts[-1]
        if last.code != 0 or last.ended > first:
            yield f"ran although {name} had not succeeded"
    aux = facts.record.lives.get(AUX)
    if facts.plan.is_supervised and (not aux or aux.started > first):
        yield "ran before the supervisor"


# --- time -------------------------------------------------------------------------------------


def _bounds(facts: Facts, container: Container, life: Life) -> Iterator[tuple[int, str]]:
    """Moments at which it has to have ended, and why."""
    part, plan = container.part, facts.plan
    last = life.attempts[-1] if life.attempts else None
    stands_still = facts.is_standing_still(container, last)
    if last and last.code is not None:
        most = plan.retries if container.role == "main" else 0
        if last.code == 0 or len(life.attempts) >= most:
            yield last.ended, "its command had ended"
    for possible in facts.possible[container.name]:
        if not possible.is_certain or possible.signo not in (2, 3, 15):
            continue
        if possible.signo != 15 or part.term != "ignore" or not last:
            if not stands_still:
                yield possible.since + part.tdelay * 1_000_000, "it was asked to end"
    yield from _bounds_by_aux(facts, container, life)
    for name in container.dependencies:
        other = facts.record.lives.get(name)
        if other and other.exit_code not in (None, "0") and facts.is_quiet and not last:
            if not plan.is_supervised or AUX in facts.record.lives:
                yield max(other.ended, life.started), f"{name} had failed"
    mains = [facts.record.lives.get(c.name) for c in plan.mains]
    if container.role == "sidecar" and facts.is_quiet and all(m and m.exit_code for m in mains):
        ended = max(main.ended for main in mains if main)
        if not plan.is_supervised or last:
            is_deaf = part.term == "ignore" or stands_still
            grace = facts.grace if is_deaf else part.tdelay * 1_000_000
            yield max(ended, life.started) + grace, "those that it serves had ended"


def _bounds_by_aux(
    facts: Facts, container: Container, life: Life
) -> Iterator[tuple[int, str]]:
    """`wait` kills, if it is there and knows the wrapper."""
    if container.role != "main" or not facts.is_quiet:
        return
    for stop in facts.aux_stops():
        if stop.is_certain and facts.know_each_other(life.name, stop.since):
            yield stop.since + facts.grace, "wait had been asked to finish up"
    for deed in facts.record.deeds:
        if deed.kind != "control" or not deed.has_worked:
            continue
        is_meant = life.name in deed.body.get("containers", [life.name])
        signo = deed.body.get("signal", 15)
        if is_meant and signo != 10 and facts.know_each_other(life.name, deed.began):
            grace = 0 if signo == 9 else plan_grace(facts, deed.body)
            yield deed.ended + grace, "the control socket had been asked"
    aux = facts.record.lives.get(AUX)
    if facts.plan.deadline is not None and aux and facts.know_each_other(life.name, life.started):
        yield aux.started + 2_000_000_000 + facts.grace, "its deadline had passed"


def plan_grace(facts: Facts, body: dict[str, int]) -> int:
    return body.get("graceSeconds", facts.plan.grace) * 1_000_000_000


def _check_time(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    bounds = list(_bounds(facts, container, life))
    if bounds:
        bound, why = min(bounds)
        killed = [d.began for d in facts.killings(life.name) if d.text == "grace over"]
        if life.ended > bound + facts.moment or (killed and killed[0] > bound + facts.instant):
            yield f"hangs: went on for {(life.ended - bound) / 1e6:.0f} ms after {why}"
    is_endless = container.part.life < 0 or container.part.stop >= 0 or container.stall > 0
    if facts.was_hit_by(life.name, "cleared away") and not is_endless and not bounds:
        if life.attempts and not facts.is_standing_still(container, life.attempts[-1]):
            yield "hangs: it had to be cleared away"


# --- files ------------------------------------------------------------------------------------


def _leftover_files(facts: Facts) -> Iterator[str]:
    """Names that only unfinished work has; who was killed may leave them."""
    for path in facts.record.files:
        owner = path.split("/")[1] if path.startswith("ctr/") else AUX
        if facts.was_killed(owner) or owner not in facts.record.lives:
            continue
        aux_files = path in ("wait.sock", "control.sock")
        if path.endswith(TEMPORARY) or aux_files:
            yield f"{path} is left over"


def _leftover_requests(facts: Facts) -> Iterator[str]:
    """A signal file is taken away by who acts on it."""
    files = [deed for deed in facts.record.deeds if deed.kind == "file" and deed.has_worked]
    for deed in {deed.target: deed for deed in files}.values():
        life = facts.record.lives.get(deed.target)
        path = f"ctr/{deed.target}/signal"
        if not life or path not in facts.record.files or not deed.text.strip():
            continue
        container = facts.plan.container(life.name)
        if container.role != "main" or container.part.file or not facts.is_quiet:
            continue
        is_late = life.ended < deed.ended + facts.instant
        if not is_late and facts.know_each_other(life.name, deed.began):
            yield f"{path} is still there"
