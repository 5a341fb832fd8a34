"""Judges `wait` and `supervisor`: when they end, how, and what they have reported."""

from __future__ import annotations

from collections.abc import Iterator

from tests.scenario import label_of
from tests.schedules.facts import Facts
from tests.schedules.record import Life

RESULT_BYTES_MAX = 256 * 1024
DEADLINE_MESSAGE = "Step exceeded its deadline"


def check_aux(facts: Facts, life: Life) -> Iterator[str]:
    if life.status == ("signal", 9):
        if not facts.was_killed(life.name):
            yield "was killed, but nobody did it"
        was_asked = any(stop.is_certain for stop in facts.aux_stops())
        if facts.was_hit_by(life.name, "grace over") and was_asked and not facts.plan.api_faults:
            yield "did not end within the grace period"
        if facts.was_hit_by(life.name, "cleared away"):
            yield from _check_hang(facts)
        return
    if life.status and life.status[0] == "signal":
        yield f"died of signal {life.status[1]}"
        return
    # It cannot begin without them.
    if life.code == 2 and life.message and facts.removed("template", "ctr"):
        return
    yield from _check_code(facts, life)
    yield from _check_report(facts, life)
    yield from _check_patience(facts, life)
    yield from _check_time(facts, life)


def _has_result(facts: Facts) -> bool:
    return facts.plan.is_captured and any(c.name == "main" for c in facts.plan.mains)


def _may_fail(facts: Facts) -> bool:
    """There is a reason for 64."""
    main = facts.record.lives.get("main")
    may_be_early = bool(facts.aux_stops()) or facts.plan.deadline is not None
    if facts.plan.is_supervised:
        mains = [facts.record.lives.get(c.name) for c in facts.plan.mains]
        if may_be_early or not any(main and main.attempts for main in mains):
            return True
    if not _has_result(facts):
        return False
    return not main or not main.attempts or may_be_early or facts.removed("ctr/main/stdout")


def _check_code(facts: Facts, life: Life) -> Iterator[str]:
    if life.code not in ((0, 64) if _may_fail(facts) else (0,)):
        yield f"ended with {life.code}: {life.message!r}"
    elif life.code == 64 and not life.message:
        yield "ended with 64 and does not say why"
    elif life.code == 0 and not _is_plain(facts, life.message):
        yield f"ended with 0 and the message {life.message!r}"
    if life.message == DEADLINE_MESSAGE and facts.plan.deadline is None:
        yield "speaks of a deadline that there is not"


def _is_plain(facts: Facts, message: str) -> bool:
    """What a `wait` says that has had no trouble itself."""
    lost = any(f"{c.name} was killed" in message for c in facts.plan.mains)
    return message in ("", DEADLINE_MESSAGE) or lost


def _check_report(facts: Facts, life: Life) -> Iterator[str]:
    history = facts.record.history
    if life.code not in (0, 64):
        return
    if not history or label_of(history[-1]) != "true":
        yield f"the task result is not final: {history[-1:]}"
        return
    result = history[-1].get("outputs", {}).get("result")
    if not _has_result(facts):
        if result is not None:
            yield f"reported a result that nobody wants: {result[:100]!r}"
        return
    if result is None:
        if life.code == 0:
            yield "reported no result, and succeeded"
        return
    main = facts.record.lives.get("main")
    if not main or facts.removed("ctr/main/stdout"):
        return
    kept = main.kept_stdout or b""
    if main.ended > life.ended or main.status == ("signal", 9):
        is_known = kept.startswith(result.encode()) or result == _result_of(kept)
        if not is_known and not facts.plan.retries:
            yield "the result is not what main has written so far"
    elif not _waited(facts, main):
        return
    elif result != _result_of(kept):
        yield f"the result is not main's stdout: {result[-100:]!r}, {kept[-100:]!r}"


def _waited(facts: Facts, main: Life) -> bool:
    """It had no reason not to wait for main: one that it has not seen is not waited for then."""
    if facts.plan.deadline is not None or "freeze" in facts.plan.kinds():
        return False
    return all(facts.know_each_other(main.name, stop.since) for stop in facts.aux_stops())


def _result_of(kept: bytes) -> str:
    return kept.removesuffix(b"\n")[-RESULT_BYTES_MAX:].decode(errors="replace")


def _check_patience(facts: Facts, life: Life) -> Iterator[str]:
    """It does not leave a living main behind, unless its own time is up."""
    stops = [stop.since for stop in facts.aux_stops()]
    if facts.plan.deadline is not None or not facts.is_quiet:
        return
    reporting = min(facts.grace // 4, 1_000_000_000)
    for container in facts.plan.mains:
        main = facts.record.lives.get(container.name)
        alive = _was_alive(facts, main, life.ended) if main else not stops
        if not alive:
            continue
        if not stops:
            yield f"did not wait for {container.name}"
        elif main and facts.know_each_other(main.name, min(stops)):
            if life.ended < min(stops) + facts.grace - reporting - facts.instant:
                yield f"did not wait for {container.name}, though there was time"


def _was_alive(facts: Facts, main: Life, at: int) -> bool:
    """Its last attempt; the kernel takes its time with namespaces."""
    last = main.attempts[-1] if main.attempts else None
    if last and last.ended:
        return last.ended > at + facts.instant
    return main.ended > at + facts.acquainted


def _knows_all(facts: Facts) -> bool:
    """Every main has left an exit code, or died while it was connected."""
    if facts.removed("wait.sock") or facts.removed("ctr"):
        return False
    for container in facts.plan.mains:
        main = facts.record.lives.get(container.name)
        if not main or facts.removed(f"ctr/{main.name}/exitcode"):
            return False
        if main.exit_code is None and not facts.know_each_other(main.name, main.ended):
            return False
    return True


def _bound(facts: Facts, life: Life) -> int | None:
    mains = [facts.record.lives[c.name].ended for c in facts.plan.mains if _knows_all(facts)]
    bounds = [max(*mains, life.started)] if mains else []
    bounds += [stop.since + facts.grace for stop in facts.aux_stops() if stop.is_certain]
    return min(bounds) if bounds else None


def _check_time(facts: Facts, life: Life) -> Iterator[str]:
    bound = _bound(facts, life)
    moment = facts.api_moment if facts.plan.api_faults else 4 * facts.acquainted
    if bound and life.ended > bound + moment:
        yield f"hangs: went on for {(life.ended - bound) / 1e6:.0f} ms"


def _check_hang(facts: Facts) -> Iterator[str]:
    if _knows_all(facts):
        yield "hangs: all main containers had ended"
    elif any(stop.is_certain for stop in facts.aux_stops()):
        yield "hangs: it had been asked to finish up"
