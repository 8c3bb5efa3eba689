"""The servers and sentinels of components/redis-sentinel as processes, started by the scripts that the pods run.

Each has an address of its own on loopback in place of a name, so that all listen on the same ports, as in a cluster.
Only ports, folders and the pauses between attempts differ from what is deployed.  A server counts as down after the 2 s
of the manifests: on a busy machine a live one may take half a second to answer, and must not be replaced for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.k8s.redis_secrets import CA_FILE, new_passwords, url
from deploy.redis.acl import SENTINEL_USERS, acl_file
from simulators.redis_servers import redis_program
from tests.deploy.k8s_manifests import K8S
from tests.programs import program
from tools.ports import free_port

COMPONENTS = (K8S / "components" / "redis-sentinel", K8S / "components" / "redis-tls")
PASSWORDS = new_passwords()
VARIABLE_OF = {"redis": "REDIS_PASSWORD_REPLICA", "sentinel": "REDIS_PASSWORD_SENTINEL"}
"""Beside REDIS_PASSWORD_PROBE, the only password that a pod of this kind has."""
SET = "voice"
SERVERS = tuple(f"127.77.0.{number}" for number in (1, 2, 3))
SENTINELS = tuple(f"127.77.1.{number}" for number in (1, 2, 3))
STOP_SECONDS = 15.0
SCRIPT_SECONDS = 40.0


class RedisSet:
    """Three servers, three sentinels, each a pod: a process and a disk that outlives it."""

    def __init__(self, folder: Path, tls: bool = False) -> None:
        """With `tls`: as components/redis-tls makes it, with a certificate of an authority that is made here."""
        redis_program()
        self._folder = folder
        self.tls = tls
        self.ca = folder / "tls" / "ca.crt"
        if tls:
            certify(folder / "tls", [*SERVERS, *SENTINELS])
        (folder / "redis.acl").write_text(acl_file(PASSWORDS), "utf-8")
        (folder / "sentinel.acl").write_text(acl_file(PASSWORDS, SENTINEL_USERS), "utf-8")
        self._ports = {"26379": str(free_port()), "6379": str(free_port())}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for path in (path for component in COMPONENTS for path in component.rglob("*")):
            if path.suffix in (".sh", ".conf"):
                (folder / path.name).write_text(self._adapted(path.read_text("utf-8")), "utf-8")

    def _adapted(self, text: str) -> str:
        for port, ours in self._ports.items():  # 26379 first: 6379 is a part of it
            text = text.replace(port, ours)
        return (
            text.replace("dir /data\n", "")
            .replace("/tls/", f"{self.ca.parent}/")
            .replace("PAUSE_SECONDS=2\n", "PAUSE_SECONDS=0.2\n")
        )

    def _environment(self, name: str) -> dict[str, str]:
        kind = "sentinel" if name in SENTINELS else "redis"
        disk = self._folder / name
        disk.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            **{name: PASSWORDS[name] for name in (VARIABLE_OF[kind], "REDIS_PASSWORD_PROBE")},
            "USERS": str(self._folder / f"{kind}.acl"),
            **self._with_tls(kind),
            "SELF": name,
            "HERE": name,
            "PEERS": " ".join(SERVERS),
            "SENTINELS": " ".join(SENTINELS),
            "SET": SET,
            "GIVEN": str(self._folder / f"{kind}.conf"),
            "WRITTEN": str(disk / f"{kind}.conf"),
            "DATA": str(disk),
        }

    def _with_tls(self, kind: str) -> dict[str, str]:
        if not self.tls:
            return {}
        return {
            "TLS_CONF": str(self._folder / f"{kind}-tls.conf"),
            "TLS_OPTIONS": f"--tls --cacert {self.ca}",
        }

    def url(self, role: str) -> str:
        """REDIS_URL of a role, as deploy/k8s/redis_secrets.py makes it."""
        made = url(role, PASSWORDS[f"REDIS_PASSWORD_{role.upper()}"], "voice", self.tls)
        for name, ours in zip((f"sentinel-{n}.sentinel.voice.svc" for n in range(3)), SENTINELS, strict=True):
            made = made.replace(f"{name}:26379", f"{ours}:{self._ports['26379']}")
        return made.replace(CA_FILE, str(self.ca))

    def start(self, *names: str) -> None:
        for name in names:
            script, more = ("sentinel.sh", "--sentinel") if name in SENTINELS else ("primary.sh", "")
            environment = self._environment(name)
            command = f"sh {self._folder}/{script} && exec redis-server {environment['WRITTEN']} {more} --bind {name}"
            with (self._folder / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    ["sh", "-c", command], env=environment, cwd=environment["DATA"],
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip

    def kill(self, *names: str) -> None:
        """Without a warning, as when a node is lost."""
        for name in names:
            process = self._running.pop(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)

    def kill_all(self) -> None:
        self.kill(*self._running)

    def lose_disk(self, name: str) -> None:
        shutil.rmtree(self._folder / name)

    def run(self, name: str, script: str) -> int:
        """A script in the pod, such as its preStop; its exit code."""
        command = ["sh", str(self._folder / script)]
        return subprocess.run(command, env=self._environment(name), timeout=SCRIPT_SECONDS).returncode

    @contextlib.contextmanager
    def client(self, name: str, user: str = "admin", password: str = "") -> Iterator[redis.Redis]:
        port = int(self._ports["26379" if name in SENTINELS else "6379"])
        client = redis.Redis(
            host=name,
            port=port,
            username=user,
            password=password or PASSWORDS[f"REDIS_PASSWORD_{user.upper()}"],
            ssl=self.tls,
            ssl_ca_certs=str(self.ca) if self.tls else None,
            decode_responses=True,
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        with contextlib.closing(client):
            yield client

    def role(self, name: str) -> str:
        """As the server says: `master`, `slave`, or nothing if it does not answer."""
        with self.client(name) as client, contextlib.suppress(redis.RedisError):
            return str(client.role()[0])
        return ""

    @staticmethod
    def named_by(sentinel: redis.Redis) -> str:
        found: Any = sentinel.sentinel_get_master_addr_by_name(SET)
        return str(found[0]) if found else ""

    def primary(self) -> str:
        """Whom at least two sentinels name."""
        answers = []
        for sentinel in SENTINELS:
            with self.client(sentinel) as client, contextlib.suppress(redis.RedisError):
                answers.append(self.named_by(client))
        return next((name for name in answers if name and answers.count(name) > 1), "")

    def hurry(self) -> None:
        """Sentinels look at the servers every 10 s while all is well; here twice a second."""
        for sentinel in SENTINELS:
            with self.client(sentinel) as client, contextlib.suppress(redis.RedisError):
                client.execute_command("SENTINEL", "DEBUG", "info-period", 500)  # type: ignore[no-untyped-call]

    def whole(self) -> bool:
        """One primary, known to most sentinels, and two replicas that follow it."""
        self.hurry()
        primary = self.primary()
        if not primary or self.role(primary) != "master":
            return False
        with self.client(primary) as client, contextlib.suppress(redis.RedisError):
            followers = [one for one in client.info("replication").items() if one[0].startswith("slave")]
            return len(followers) == 2 and all(state["state"] == "online" for _, state in followers)
        return False

    def sentinels_know_all(self) -> bool:
        """Each sentinel knows the two others and both replicas: a failover can be agreed on."""
        for sentinel in SENTINELS:
            with self.client(sentinel) as client:
                state: Any = client.sentinel_master(SET)
                if state["num-other-sentinels"] != 2 or state["num-slaves"] != 2:
                    return False
        return True


def certify(folder: Path, addresses: Sequence[str]) -> None:
    """An authority, and a certificate of its for these addresses, as the Secret voice-redis-tls has them."""
    folder.mkdir()
    names = ",".join(f"IP:{address}" for address in [*addresses, "127.0.0.1"])
    (folder / "names.cnf").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for words in (
        ["req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority"],
        ["req", *new, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=redis"],
        ["x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
         "-out", "tls.crt", "-extfile", "names.cnf"],
    ):  # fmt: skip
        subprocess.run([program("openssl"), *words], cwd=folder, check=True, capture_output=True, timeout=30)
