"""Dashboards and alert rules: each query can be parsed, and asks for what a started pod exposes."""

import json
import re
import shutil
import subprocess

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT

PROMETHEUS = ROOT / "config" / "prometheus"
GRAFANA = ROOT / "config" / "grafana"
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
# What Prometheus itself adds.
ADDED = {"job", "instance"}
SYNTHETIC = {"up": ADDED}


def rules():
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def panels():
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target


def without_variables(expr):
    """As Grafana sends it."""
    return expr.replace("$__rate_interval", "1m").replace("$pod", ".*")


QUERIES = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
QUERIES += [(where, without_variables(target["expr"])) for where, target in panels()]


def asked_for(query):
    """(metric, label, value or None) of everything that a query names; metric None for labels it groups by."""
    found, names, grouped = [], set(), set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)
            for matcher in node.matchers.matchers:
                exact = matcher.value if matcher.op == promql_parser.MatchOp.Equal else None
                words = matcher.value.split("|") if re.fullmatch(r"[a-z0-9|]+", matcher.value) else [exact]
                found.extend((node.name, matcher.name, word) for word in words)
        elif isinstance(node, promql_parser.MatrixSelector):
            visit(node.vector_selector)
        elif isinstance(node, promql_parser.AggregateExpr):
            grouped.update(node.modifier.labels if node.modifier else [])
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            grouped.update(node.modifier.matching.labels)
        return True

    promql_parser.walk(promql_parser.parse(query), pre_visit=visit)
    return names, found, grouped


def faults(query, exposed):
    """What a query asks for and nobody exposes. exposed: metric -> label -> values."""
    names, found, grouped = asked_for(query)
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    wrong = [name for name in names if name not in exposed and name not in SYNTHETIC and name not in recorded]
    for name, label, value in found:
        values = exposed.get(name, {}).get(label)
        if label in ADDED or name in wrong:
            continue
        if values is None or (value is not None and value not in values):
            wrong.append(f"{name}{{{label}={value}}}")
    known = {label for name in names for label in exposed.get(name, {})} | ADDED
    return wrong + sorted(grouped - known)


async def exposed_by(pod):
    found = {}
    for family in text_string_to_metric_families((await pod.call("GET", "/metrics"))[1]):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


async def test_every_query_asks_for_what_a_started_pod_exposes(pods):
    exposed = await exposed_by(await pods.start())
    assert len(QUERIES) > 90
    for where, query in QUERIES:
        assert faults(query, exposed) == [], (where, query)
    for wrong in (
        "maru_send_total", 'maru_sends_total{result="faild"}', "sum by (user) (maru_sends_total)",
        "rate(maru_commit_seconds[5m])", 'maru_http_requests_total{route=~"accounts|nowhere"}',
    ):  # fmt: skip
        assert faults(wrong, exposed), wrong
    with pytest.raises(ValueError):
        asked_for("sum(maru_sends_total")


def test_legends_and_texts_use_labels_that_are_left():
    for where, target in panels():
        _, _, grouped = asked_for(without_variables(target["expr"]))
        bare = "sum" not in target["expr"] and "histogram" not in target["expr"]
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert label in grouped or (bare and label in ADDED), where
    for rule in alerts():
        _, _, grouped = asked_for(rule["expr"])
        for text in rule["annotations"].values():
            for label in re.findall(r"\$labels\.(\w+)", text):
                assert label in grouped or label in ADDED, rule["alert"]


def test_every_alert_says_what_it_is_and_where_to_read_what_to_do():
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) >= 10
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"OPERATIONS.md#alert-{rule['alert'].lower()}"
    operations = ROOT / "OPERATIONS.md"
    if operations.exists():
        headings = re.findall(r"^#+ (.+)$", operations.read_text(), re.M)
        slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert {f"alert-{name.lower()}" for name in names} <= slugs


def test_each_counter_is_asked_for_by_its_rate():
    for where, query in QUERIES:
        for name in re.findall(r"\b\w+_(?:total|bucket)\b", query):
            assert re.search(rf"(rate|increase)\({name}[{{[]", query), where


def test_the_dashboards_are_what_grafana_reads():
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/maru.yml").read_text())["providers"]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"./config/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert [path.stem for path in BOARDS] == ["answers", "delivery", "money", "overview", "stores"]
    boards = [json.loads(path.read_text()) for path in BOARDS]
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert len({board["uid"] for board in boards} | {board["title"] for board in boards}) == 2 * len(boards)
    for board in boards:
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
            taken |= cells
            assert (
                panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
                and panel["fieldConfig"]["defaults"]["unit"]
            )
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_prometheus_reads_the_rules():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert config["rule_files"] == ["rules.yml"]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["volumes"]
    assert "./config/prometheus:/etc/prometheus:ro" in mounts


needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is Debian's prometheus")


def promtool(*args):
    done = subprocess.run(["promtool", *map(str, args)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_configuration_and_the_alerts_fire_when_they_should(tmp_path):
    assert promtool("check", "config", PROMETHEUS / "prometheus.yml")[0] == 0
    shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
    shutil.copy(ROOT / "tests" / "monitoring_rules.yml", tmp_path)
    code, said = promtool("test", "rules", tmp_path / "monitoring_rules.yml")
    assert code == 0, said
    planted = (tmp_path / "rules.yml").read_text().replace("maru_bus_deaf == 1", "maru_bus_deaf == 2")
    (tmp_path / "rules.yml").write_text(planted)
    assert promtool("test", "rules", tmp_path / "monitoring_rules.yml")[0] != 0


@needs_promtool
async def test_promtool_finds_the_metrics_well_named(pods):
    pod = await pods.start()
    text = (await pod.call("GET", "/metrics"))[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
