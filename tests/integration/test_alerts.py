"""deploy/prometheus: rules that Prometheus reads, about metrics that `wait` really has.

What Prometheus' own `promtool check rules` does not see is checked here: that each family, label and
value in an expression is one that the code writes. (Debian brings that tool only with a server of 100 MB,
which it starts.)
"""

from __future__ import annotations

import re

import pytest

from tests.lab import ROOT

yaml = pytest.importorskip("yaml", reason="package python3-yaml is not installed")

RULES = ROOT / "deploy/prometheus/argoexec.rules.yaml"
CLASSES = {"permanent", "not found", "transient", "throttled", "expired credentials"}
CLASSES |= {"wrong region", "clock skew", "cancelled"}
# Family: its labels, and their values where they are ours.
FAMILIES: dict[str, dict[str, set[str]]] = {
    "argoexec_store_requests_total": {"store": set()},
    "argoexec_store_failures_total": {"store": set(), "class": CLASSES},
    "argoexec_store_retries_total": {"store": set(), "class": CLASSES},
    "argoexec_endpoint_state": {"endpoint": set(), "state": {"open", "slowed", "failing"}},
    "argoexec_artifacts": {
        "direction": {"input", "output"},
        "state": {"planned", "loading", "loaded", "sending", "stored", "failed", "absent"},
    },
    "argoexec_containers": {"state": {"waiting", "running", "ended", "lost"}},
}
TARGET = {"namespace", "pod"}
SELECTOR = re.compile(r"(argoexec_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=|!=|=~|!~)"([^"]*)"')
DURATION = re.compile(r"^\d+[smh]$")


def rules() -> list[dict[str, object]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert [group["name"] for group in groups] == ["argoexec"]
    assert set(groups[0]) == {"name", "rules"}
    return groups[0]["rules"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_rule(rule: dict) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Argoexec[A-Z]\w+", rule["alert"])
    assert DURATION.match(rule.get("for", "1m"))
    assert rule["labels"]["severity"] in ("warning", "critical")
    expression = rule["expr"]
    selectors = SELECTOR.findall(expression)
    assert selectors
    labels = set(TARGET)
    for family, matchers in selectors:
        assert family in FAMILIES
        labels |= set(FAMILIES[family])
        for name, operator, value in MATCHER.findall(matchers):
            known = FAMILIES[family][name]
            assert known and set(value.split("|") if "~" in operator else [value]) <= known
        assert MATCHER.sub("", matchers).strip(", ") == ""
    kept = {name.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for name in by.split(",")}
    assert kept and kept <= labels
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert used <= kept and rule["annotations"]["summary"]
    counters = [family for family, _ in selectors if family.endswith("_total")]
    assert len(counters) == len(re.findall(r"(?:rate|increase)\(\s*argoexec_\w+_total", expression))
    assert expression.count("(") == expression.count(")")


def test_names_are_told_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_families_are_those_of_the_code() -> None:
    """As control_metrics.c and control_traffic.c write them."""
    code = "".join((ROOT / f"signal/control_{name}.c").read_text() for name in ("metrics", "traffic"))
    for family in FAMILIES:
        name = family.removeprefix("argoexec_")
        assert f'"{name}"' in code or f"{family}{{" in code, family
