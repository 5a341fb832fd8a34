"""Rules that decide which request a server or proxy treats badly, and how.

As JSON: {"verb": "PATCH", "path": "/workflowtaskresults/", "nth": 2, "count": 1,
"probability": 0.5, "seed": 7, "action": {"kind": "status", "status": 503}}. Everything but
"action" is optional: by default a rule applies to every request from the first on.
"""

import random
import re
import threading
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Fault:
    """One rule; the first rule of a table that fires decides about a request."""

    action: dict[str, Any]
    verb: str = ""
    path: str = ""
    nth: int = 1
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._pattern = re.compile(self.path)
        self._random = random.Random(self.seed)

    def matches(self, verb: str, path: str) -> bool:
        return self.verb in ("", verb) and self._pattern.search(path) is not None

    def fires(self) -> bool:
        """Counts one matching request and says whether this one is hit."""
        self.seen += 1
        late_enough = self.seen >= self.nth
        some_left = self.count is None or self.fired < self.count
        if not (late_enough and some_left and self._random.random() < self.probability):
            return False
        self.fired += 1
        return True


class FaultTable:
    """The rules of one server; safe to use from several threads."""

    def __init__(self, known: dict[str, set[str]]):
        """KNOWN maps each action's kind to the names of the options that it takes."""
        self._known = known
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, **rule: Any) -> Fault:
        """Append a rule; ValueError for an unknown action or option."""
        action = dict(rule.get("action") or {})
        kind = action.pop("kind", None)
        if kind not in self._known:
            raise ValueError(f"fault action {kind!r}: know {', '.join(sorted(self._known))}")
        if unknown := set(action) - self._known[kind]:
            raise ValueError(f"fault action {kind}: unknown option {', '.join(sorted(unknown))}")
        try:
            fault = Fault(**rule)
        except TypeError as error:
            raise ValueError(f"fault rule: {error}") from None
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def pick(self, verb: str, path: str) -> dict[str, Any] | None:
        """The action for this request, None for an undisturbed one."""
        with self._lock:
            for rule in self._rules:
                if rule.matches(verb, path) and rule.fires():
                    return rule.action
        return None

    def as_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(rule) for rule in self._rules]
