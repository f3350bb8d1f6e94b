"""scripts/bench.py runs and writes what it promises; whether its numbers are good is nobody's test."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> str:
    command = [sys.executable, "scripts/bench.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_benchmarks_are_named() -> None:
    assert bench("--list").split() == ["fanout", "memory", "commit", "stream", "pods", "many", "resume", "send"]


def test_a_benchmark_writes_its_figures_with_machine_versions_and_date(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    shown = bench("--quick", "--only", "commit", "--json", str(file))
    found = json.loads(file.read_text())
    assert set(found) == {"began", "quick", "about", "figures", "faults"}
    assert found["quick"] is True and found["faults"] == {}
    assert {"system", "cores", "python", "packages", "postgres"} <= set(found["about"])
    assert {figure["bench"] for figure in found["figures"]} == {"commit"}
    for figure in found["figures"]:
        assert set(figure) == {"bench", "name", "value", "unit", "target", "detail", "verdict"}
        assert figure["value"] > 0 and figure["name"] in shown
    assert str(ROOT) not in file.read_text()
