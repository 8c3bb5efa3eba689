"""Who is given which secret in Kubernetes: each its own, and in Redis a user of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.redis.url import Login, parse_redis_url
from deploy.k8s import redis_secrets
from deploy.redis.acl import SENTINEL_USERS, USERS
from tests.deploy.k8s_manifests import (
    OVERLAYS,
    Thing,
    containers,
    environment,
    named,
    of_kind,
    overlay,
    template,
    title,
    workloads,
)
from tests.deploy.test_k8s import CHECKS, chosen, documented_secrets, none_of, refused

pytestmark = pytest.mark.processes

ROLES = ("edge", "stt", "llm", "tts", "tools")
OWN = {
    "edge": {"voice-redis-edge", "voice-edge"},
    "stt": {"voice-redis-stt", "voice-vendors"},
    "llm": {"voice-redis-llm", "voice-vendors"},
    "tts": {"voice-redis-tts", "voice-vendors"},
    "tools": {"voice-redis-tools", "voice-tools"},
    "redis": {"voice-redis-server"},
    "sentinel": {"voice-redis-sentinel"},
}
KEYS = {
    "stt": {"DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"},
    "llm": {"OPENAI_API_KEY"},
    "tts": {"ELEVENLABS_API_KEY", "OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"},
}
"""Vendors' keys by pool: of what it can be given as a provider."""
TLS = ("redis-sentinel", "redis-tls", "redis-certificate", "prometheus-operator")


def given(workload: Thing) -> dict[str, set[str]]:
    """Secret -> keys that its pods are given; "*" is the whole of it."""
    found: dict[str, set[str]] = {}
    for container in containers(workload):
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                found.setdefault(source["secretRef"]["name"], set()).add("*")
        for entry in environment(container).values():
            if ref := entry.get("valueFrom", {}).get("secretKeyRef"):
                found.setdefault(ref["name"], set()).add(ref["key"])
    for volume in template(workload)["spec"].get("volumes", []):
        if secret := volume.get("secret"):
            keys = {item["key"] for item in secret.get("items", [{"key": "*"}])}
            found.setdefault(secret["secretName"], set()).update(keys)
    return found


def own_name(one: Thing) -> str:
    """A Secret's name without the hash that kustomize puts behind a generated one."""
    return re.sub(r"-[0-9a-z]{10}$", "", one["metadata"]["name"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_workload_is_given_its_own_secrets_and_no_others(name: str) -> None:
    for workload in workloads(overlay(name)):
        who = workload["metadata"]["name"]
        if name == "dev" and who == "redis":
            assert not given(workload)
            continue
        found = {re.sub(r"-[0-9a-z]{10}$", "", secret) for secret in given(workload)}
        assert found <= OWN[who], f"{title(workload)} is given {sorted(found - OWN[who])}"
        whole = [secret for secret, keys in given(workload).items() if "*" in keys]
        assert whole == (["voice-tools"] if who == "tools" else []), f"{title(workload)} is given a whole Secret"


@pytest.mark.parametrize("name", ["prod", "prod-keda"])
def test_a_pool_is_given_the_keys_of_its_own_vendors(name: str) -> None:
    for pool, keys in KEYS.items():
        assert given(named(overlay(name), "Deployment", pool))["voice-vendors"] == keys


@pytest.mark.parametrize("name", ["prod", "prod-keda"])
def test_no_password_opens_everything(name: str) -> None:
    """Neither `requirepass` nor the user `admin` is anywhere in what runs."""
    objects = overlay(name)
    everything = yaml.safe_dump_all(objects)
    assert "requirepass" not in everything.replace("'/^requirepass /d'", "")
    assert "ADMIN" not in everything
    assert not of_kind(objects, "Secret")
    assert all("aclfile" in named_script(objects, script) for script in ("primary.sh", "sentinel.sh"))


def named_script(objects: list[Thing], script: str) -> str:
    (found,) = (one["data"][script] for one in of_kind(objects, "ConfigMap") if script in one["data"])
    return str(found)


# --- the Secrets that are made --------------------------------------------------------------------------------------


def made(tls: bool = False, server: str = "") -> dict[str, dict[str, str]]:
    documents = redis_secrets.documents(redis_secrets.new_passwords(), "voice", tls, server)
    return {one["metadata"]["name"]: one["stringData"] for one in documents}


def test_each_role_has_a_password_of_its_own_and_knows_no_others() -> None:
    secrets = made()
    assert secrets.keys() == {name for name in documented_secrets() if name.startswith("voice-redis")} - {
        "voice-redis-tls"
    }
    passwords = []
    for role in ROLES:
        (place,) = parse_redis_url(secrets[f"voice-redis-{role}"]["REDIS_URL"])
        assert place.login.user == place.sentinel_login.user == role
        assert place.login == place.sentinel_login != Login()
        assert (place.set, len(place.hosts), place.tls) == ("voice", 3, False)
        passwords.append(place.login.password)
    passwords += [value for name in ("server", "admin") for key, value in secrets[f"voice-redis-{name}"].items()
                  if key != "users.acl"]  # fmt: skip
    passwords.append(secrets["voice-redis-sentinel"]["REDIS_PASSWORD_SENTINEL"])
    assert len(set(passwords)) == len(passwords) == len(USERS)
    for name, secret in secrets.items():
        found = {value for value in passwords if value in "".join(secret.values())}
        assert len(found) == len(secret) - ("users.acl" in secret), f"{name} has somebody else's password"


@pytest.mark.parametrize(("name", "users"), [("server", USERS), ("sentinel", SENTINEL_USERS)])
def test_the_files_of_users_switch_the_default_user_off_and_hold_hashes_only(name: str, users: Any) -> None:
    lines = made()[f"voice-redis-{name}"]["users.acl"].splitlines()
    assert lines[0].startswith("user default off")
    assert [line.split()[1] for line in lines[1:]] == [user.name for user in users]
    assert all(re.search(r" #[0-9a-f]{64} ", line) for line in lines[1:])
    assert not any("nopass" in line or " >" in line for line in lines)


def test_a_server_of_ones_own_gets_its_users_and_no_sentinels() -> None:
    secrets = made(tls=True, server="redis.example.com:6380")
    assert "voice-redis-sentinel" not in secrets
    (place,) = parse_redis_url(secrets["voice-redis-stt"]["REDIS_URL"])
    assert (place.hosts, place.tls, place.login.user) == ((("redis.example.com", 6380),), True, "stt")


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_with_tls_everything_that_speaks_to_redis_speaks_it(tmp_path: Path) -> None:
    objects = chosen(tmp_path, *TLS)
    for check in CHECKS:
        none_of(check(objects))
    own = [
        one for one in objects if one["apiVersion"] != "cert-manager.io/v1" and "monitoring" not in one["apiVersion"]
    ]
    none_of(refused(own, "1.32"))
    for name in ("redis", "sentinel"):
        for container in containers(named(objects, "StatefulSet", name)):
            variables = {key: entry.get("value", "") for key, entry in environment(container).items()}
            assert variables["TLS_OPTIONS"] == "--tls --cacert /tls/ca.crt"
            conf = named_script(objects, Path(variables["TLS_CONF"]).name)
            assert re.search(r"^port 0$", conf, re.MULTILINE) and "tls-replication yes" in conf
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"/tls", "/tls-conf"} <= mounts, "probes run where the certificate is"
    for role in ROLES:
        deployment = named(objects, "Deployment", role)
        assert given(deployment)["voice-redis-tls"] == {"ca.crt"}, f"{role} needs no key"
        (mount,) = (
            one for one in template(deployment)["spec"]["containers"][0]["volumeMounts"] if one["name"] == "redis-ca"
        )
        (place,) = parse_redis_url(made(tls=True)[f"voice-redis-{role}"]["REDIS_URL"])
        assert place.tls and Path(place.ca).parent == Path(mount["mountPath"])


def test_the_certificate_is_for_the_names_that_are_asked(tmp_path: Path) -> None:
    objects = chosen(tmp_path, *TLS)
    names = named(objects, "Certificate", "redis")["spec"]["dnsNames"]
    assert named(objects, "Certificate", "redis")["spec"]["secretName"] == "voice-redis-tls"
    (place,) = parse_redis_url(made(tls=True)["voice-redis-edge"]["REDIS_URL"])
    for host, _ in (*place.hosts, ("redis-0.redis.voice.svc", 0)):
        assert f"*.{host.partition('.')[2]}" in names
