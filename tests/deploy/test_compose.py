"""docker-compose.yml: Compose and its schema accept it, and it keeps the rules for what runs there."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.settings import Settings
from tests.deploy.compose_dockerfile import ROOT, Stage, stages
from tests.deploy.compose_file import PROFILES, compose, environment, project, seconds, services
from tests.programs import program
from tools.own_secrets import ALL, OWN
from workers.runtime.process import METRICS_PORTS

pytestmark = pytest.mark.processes

FILE = ROOT / "docker-compose.yml"
MONITORING = ("prometheus", "grafana", "alertmanager")
OURS = ("edge", "stt", "llm", "tts", "tools", "stt-providers", "tts-providers", "demo")
WORKERS = ("stt", "llm", "tts", "tools", "stt-providers", "tts-providers")
ONLY_OF_MAKE_RUN = {"NGROK_AUTH_TOKEN", "DATA_DIR"}
"""The container `tunnel` gets the first under ngrok's own name; what containers keep is in volumes."""
FIXED = {"REDIS_URL", "HTTP_HOST", "HTTP_PORT", "METRICS_PORT", "AGENTS_DIR"}
"""What the containers' own network and folders decide; a .env for `make run` must not lead them astray."""
VENDOR_KEYS = {"OPENAI_API_KEY", "DEEPGRAM_API_KEY", "ELEVENLABS_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"}
CARRIER_SECRETS = {"VOBIZ_AUTH_ID", "VOBIZ_AUTH_TOKEN", "VOBIZ_PARENT_AUTH_TOKEN", "STREAM_SECRET", "API_TOKEN",
                   "ON_CALL_SECRET"}  # fmt: skip


@cache
def every() -> dict[str, dict[str, Any]]:
    """All services of all profiles."""
    return services(PROFILES)


def image_stage(service: dict[str, Any]) -> Stage | None:
    """The stage of our Dockerfiles that a service's image is built from."""
    build = service.get("build")
    if not build:
        return None
    found = stages(ROOT / build["dockerfile"])
    return found[build["target"]] if "target" in build else list(found.values())[-1]


def names() -> list[str]:
    """For parameters: read without Compose, which may be missing on a laptop."""
    return list(yaml.safe_load(FILE.read_text("utf-8"))["services"])


# --- is it a compose file at all? ------------------------------------------------------------------------------------


@pytest.mark.parametrize("profiles", [(), *((profile,) for profile in PROFILES), PROFILES], ids=",".join)
def test_compose_accepts_it(profiles: tuple[str, ...]) -> None:
    assert compose("--quiet", profiles=profiles) == ""


def test_the_schema_accepts_it() -> None:
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_profile_is_known_here() -> None:
    assert set(compose("--profiles", profiles=PROFILES).split()) == set(PROFILES)


# --- what starts -----------------------------------------------------------------------------------------------------


def test_the_phone_needs_no_profile_and_no_env_file() -> None:
    assert set(services()) == {"redis", "edge", "stt", "llm", "tts", "tools"}
    assert services()["stt"]["build"]["target"] == services()["tts"]["build"]["target"] == "local"


def test_nothing_that_is_pulled_can_stop_the_phone() -> None:
    """Prometheus, Grafana and ngrok are other people's: without them calls are taken all the same."""
    needed, waiting = set(), ["edge"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += set(every()[name].get("depends_on") or {}) - needed
    assert needed == {"redis", "edge", "stt", "llm", "tts", "tools", "stt-providers", "tts-providers"}
    assert all("build" in every()[name] for name in needed)
    assert not any(set(every()[name].get("depends_on") or {}) & set(MONITORING) for name in OURS)


def test_the_edge_is_stopped_before_those_whom_its_calls_need() -> None:
    needs = every()["edge"]["depends_on"]
    assert {name: needs[name]["condition"] for name in ("redis", "llm", "stt", "tts", "tools")} == {
        "redis": "service_healthy",
        **dict.fromkeys(("llm", "stt", "tts", "tools"), "service_started"),
    }, "it starts beside the pools, and waits for a member of each by itself"
    assert not needs["stt-providers"]["required"] and not needs["tts-providers"]["required"]


def test_pools_can_be_scaled(tmp_path: Path) -> None:
    for name in WORKERS:
        assert not every()[name].get("ports") and not every()[name].get("container_name")
    env_file = tmp_path / ".env"
    env_file.write_text("STT_WORKERS=2\nLLM_WORKERS=3\nTTS_WORKERS=4\nTOOLS_WORKERS=5\n")
    scaled = services(PROFILES, env_file)
    counts = {name: scaled[name]["deploy"]["replicas"] for name in WORKERS}
    assert counts == {"stt": 2, "llm": 3, "tts": 4, "tools": 5, "stt-providers": 2, "tts-providers": 4}
    assert {every()[name]["deploy"]["replicas"] for name in WORKERS} == {1}


def test_the_demo_leaves_the_others_as_they_are() -> None:
    """`run` brings what the demo depends on back to the number of containers that the file says."""
    assert not every()["demo"].get("depends_on")


def test_lean_workers_can_take_the_engines_place(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("COMPOSE_PROFILES=providers\nENGINE_WORKERS=0\nDEEPGRAM_API_KEY=key\n")
    chosen = services(env_file=env_file)
    assert chosen["stt"]["deploy"]["replicas"] == chosen["tts"]["deploy"]["replicas"] == 0
    assert environment(chosen["stt-providers"])["DEEPGRAM_API_KEY"] == "key"
    assert {chosen[f"{pool}-providers"]["build"]["target"] for pool in ("stt", "tts")} == {"stt", "tts"}
    for pool in ("stt", "tts"):
        assert chosen[pool]["environment"] == chosen[f"{pool}-providers"]["environment"], "one pool, two minds"


# --- what runs is kept in bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_it_can_do_little_harm(name: str) -> None:
    service = every()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged") and not service.get("network_mode") and not service.get("pid")
    stage = image_stage(service)
    user = service.get("user") or (stage.last("USER") if stage else "")
    assert re.fullmatch(r"[1-9]\d*(:\d+)?", user), f"{name} runs as {user or 'root'}"
    if name in OURS or name == "redis":
        assert user == "10001:10001"


@pytest.mark.parametrize("name", names())
def test_it_is_bounded(name: str) -> None:
    service = every()[name]
    assert 64 << 20 <= int(service["mem_limit"]) <= 2 << 30
    assert service["pids_limit"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert all("size=" in mount for mount in service["tmpfs"])
    assert service["restart"] == ("no" if name == "demo" else "unless-stopped")


@pytest.mark.parametrize("name", names())
def test_it_says_whether_it_is_well(name: str) -> None:
    service = every()[name]
    stage = image_stage(service)
    if name in ("demo", "tunnel"):
        return  # one lives for a call; the other's image has nothing to ask with
    check = service.get("healthcheck") or {"test": ["CMD", *stage.health] if stage else []}
    assert len(check["test"]) > 1 and check["test"][0] == "CMD" and not check.get("disable"), f"{name} has none"
    interval = seconds(check["interval"]) if "interval" in check else stage.health_option("interval") if stage else 99
    assert interval <= (1 if name in (*OURS, "redis") else 10), "`up --wait` waits for the first question"
    if stage and name in (*OURS, "redis"):
        assert "healthy.sh" in check["test"][2], "which asks a container that is well less often"
        assert stage.health_option("timeout") > 9 + 3


@pytest.mark.parametrize("name", names())
def test_its_image_is_a_version(name: str) -> None:
    tag = every()[name]["image"].partition("@")[0].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+(\.\d+){0,2}", tag), every()[name]["image"]


@pytest.mark.parametrize("name", ["redis", *OURS])
def test_its_image_is_built_for_what_it_does(name: str) -> None:
    service = every()[name]
    stage = image_stage(service)
    assert stage
    title = stage.labels["org.opencontainers.image.title"]
    assert service["image"].partition(":")[0] == (f"{title}-{name}" if title == "voice-local" else title)
    assert service["pull_policy"] == "never", "it is in no registry, and whoever takes its name there is not us"
    command = service.get("command") or stage.command
    module = {"redis": "--appendonly", "demo": "deploy.compose.demo", "edge": "edge"}
    pool = name.removesuffix("-providers")
    assert module.get(name, f"workers.{pool}") in command
    if pool in METRICS_PORTS:
        assert environment(service)["METRICS_PORT"] == str(METRICS_PORTS[pool])


def test_no_two_builds_have_one_name() -> None:
    """Side by side, the second to be stored fails: "already exists"."""
    built = [service["image"] for service in every().values() if "build" in service]
    assert len(built) == len(set(built))


def test_a_stop_is_longer_than_the_drain() -> None:
    edge = every()["edge"]
    drain = int(environment(edge)["DRAIN_SECONDS"])
    assert seconds(edge["stop_grace_period"]) >= drain + 10
    assert drain >= 300, "`down` serves the calls that are under way to their end"
    for name in WORKERS:
        assert 10 <= seconds(every()[name]["stop_grace_period"]) <= 30


def test_only_the_edge_is_reached_from_outside() -> None:
    for name, service in every().items():
        for port in service.get("ports") or []:
            assert name == "edge" or port.get("host_ip") == "127.0.0.1", f"{name} is open to the network"
    assert not every()["redis"].get("ports")
    assert project()["networks"]["store"]["internal"] is True
    assert set(every()["redis"]["networks"]) == {"store"}, "Redis has no password"
    for name in ("tunnel", *MONITORING):
        assert set(every()[name]["networks"]) == {"default"}


def test_redis_loses_nothing_that_it_confirmed_a_second_ago() -> None:
    redis = every()["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes" and options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"
    megabytes = int(options["--maxmemory"].removesuffix("mb"))
    assert megabytes << 20 <= int(redis["mem_limit"]) / 2, "a rewrite of the file needs a copy"
    stage = image_stage(redis)
    assert stage and redis["volumes"][0]["target"] == stage.last("WORKDIR"), "it writes where it works"


# --- settings --------------------------------------------------------------------------------------------------------


def variables(name: str) -> set[str]:
    return set(every()[name].get("environment") or {})


@pytest.mark.parametrize("name", OURS)
def test_it_is_told_nothing_that_does_not_exist(name: str) -> None:
    known = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert variables(name) <= known


def test_every_setting_reaches_a_process() -> None:
    known = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert set().union(*(variables(name) for name in OURS)) == known - ONLY_OF_MAKE_RUN


def test_an_env_file_reaches_them_but_not_what_containers_decide(tmp_path: Path) -> None:
    values = {field.name.upper(): str(field.default or "x") for field in dataclasses.fields(Settings)}
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}=1{value}\n" for name, value in values.items()))
    chosen = services(PROFILES, env_file)
    for name in OURS:
        for variable, value in environment(chosen[name]).items():
            assert (value == f"1{values[variable]}") == (variable not in FIXED), f"{name}: {variable}={value}"


def test_the_variables_of_tools_come_from_a_file_of_the_users_own_and_reach_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "tools.env").write_text("SHOP_TOKEN=a-token\n")
    env_file = tmp_path / ".env"
    env_file.write_text(f"TOOLS_ENV={tmp_path}/tools.env\n")
    chosen = services(PROFILES, env_file)
    assert [name for name in chosen if "SHOP_TOKEN" in environment(chosen[name])] == ["tools"]


def test_nobody_has_a_key_that_is_not_his() -> None:
    assert not variables("edge") & VENDOR_KEYS
    for name in WORKERS:
        assert not variables(name) & CARRIER_SECRETS
    assert not variables("llm") & (VENDOR_KEYS - {"OPENAI_API_KEY"})
    assert not variables("tools") & VENDOR_KEYS, "it runs code of others"
    for name in (*MONITORING, "redis"):
        assert not variables(name) & (VENDOR_KEYS | CARRIER_SECRETS)


# --- what lies around it ---------------------------------------------------------------------------------------------


def test_what_is_mounted_is_there_and_read_only() -> None:
    declared = set(project(PROFILES)["volumes"])
    for name, service in every().items():
        for mount in service.get("volumes") or []:
            if mount["type"] == "bind":
                assert Path(mount["source"]).exists(), f"{name}: {mount['source']}"
                assert mount.get("read_only"), f"{name} may write to {mount['source']}"
            else:
                assert mount["source"] in declared


def test_prometheus_asks_every_replica_where_it_answers() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in scraped["scrape_configs"] if "dns_sd_configs" in job}
    assert {name for job in jobs.values() for name in job["names"]} == {"edge", *WORKERS}
    for job in jobs.values():
        assert job["type"] == "A"
        for name in job["names"]:
            asked = environment(every()[name])
            assert job["port"] == int(asked.get("METRICS_PORT") or asked["HTTP_PORT"]), name
            assert "default" in every()[name]["networks"]
    (alertmanager,) = scraped["alerting"]["alertmanagers"][0]["dns_sd_configs"]
    assert alertmanager["names"] == ["alertmanager"]


def test_promtool_accepts_prometheus_configuration() -> None:
    promtool = program("promtool")
    command = [promtool, "check", "config", str(ROOT / "deploy/prometheus/prometheus.yml")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["isDefault"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/voice.yml").read_text("utf-8"))["providers"]
    mounts = {mount["target"]: mount["source"] for mount in every()["grafana"]["volumes"]}
    assert Path(mounts[provider["options"]["path"]]) == ROOT / "deploy/grafana"
    assert Path(mounts["/etc/grafana/provisioning"]) == provisioning


def test_the_page_names_every_service_and_profile() -> None:
    page = (ROOT / "docs/compose.md").read_text("utf-8")
    assert not [name for name in (*names(), *PROFILES) if f"`{name}`" not in page]
    images = set(re.findall(r"`(voice-[\w-]+)`", page))
    assert {service["image"].partition(":")[0] for service in every().values() if "build" in service} <= images


@pytest.mark.parametrize("name", [*OWN, "stt-providers", "tts-providers"])
def test_a_service_is_given_the_secrets_of_its_own_process(name: str) -> None:
    """As `make run` gives them: a vendor's key to the pool that uses it, the carrier's to the edge."""
    given = set(every()[name]["environment"])
    assert given & ALL == OWN[name.removesuffix("-providers")]
    assert not {f"{secret}_FILE" for secret in ALL} & given
