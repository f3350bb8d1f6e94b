"""What the documents say is true."""

import re
import subprocess

import pytest

from config.settings import Settings, settings_table
from services.exposition import metrics_table
from tests.conftest import CONTRACT, ROOT

README = (ROOT / "README.md").read_text()


def test_the_settings_table_is_the_settings():
    shown = README.split("<!-- settings -->\n")[1].split("\n<!-- /settings -->")[0]
    assert shown == settings_table(), (
        "run: python -c 'from config.settings import settings_table; print(settings_table())'"
    )


async def test_the_metrics_table_is_what_a_pod_exposes(pods):
    pod = await pods.start()
    shown = README.split("<!-- metrics -->\n")[1].split("\n<!-- /metrics -->")[0]
    assert shown == metrics_table((await pod.call("GET", "/metrics"))[1]), (
        "run: curl -s 127.0.0.1:8000/metrics | python -c"
        " 'import sys; from services.exposition import metrics_table; print(metrics_table(sys.stdin.read()))'"
    )


@pytest.mark.skipif(not CONTRACT.exists(), reason="the contract is not beside this checkout")
def test_every_environment_variable_of_the_contract_is_a_setting():
    contract = CONTRACT.read_text().split("\nEnvironment:")[1]
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", contract))
    assert named - {name.upper() for name in Settings.model_fields} == set()


def test_every_file_that_the_documents_link_to_exists():
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            if "://" not in target:
                assert (ROOT / target).exists(), (name, target)


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    wrong = re.compile("registry" + r"\.npmjs|files\.python" + "hosted|/wo" + "rk/main|/ro" + "ot/")
    for name in filter(None, files):
        path = ROOT / name
        if path.suffix in (".png", ".woff2") or not path.exists():
            continue
        assert not wrong.search(path.read_text(errors="ignore")), name
