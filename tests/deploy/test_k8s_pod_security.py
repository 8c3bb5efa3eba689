"""The check of the Pod Security Standard `restricted` sees what that level refuses: one field each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.k8s_manifests import Thing, named, overlay, template
from tests.deploy.k8s_pod_security import violations

pytestmark = pytest.mark.processes


def put(place: str, value: Any) -> Callable[[Thing], None]:
    """Set a value in a template; `*` is the first container, `-` takes the key away."""

    def planted(found: Thing) -> None:
        *way, last = place.replace("*", "spec.containers.0").split(".")
        here: Any = found
        for key in way:
            here = here[int(key)] if isinstance(here, list) else here.setdefault(key, {})
        if value == "-":
            del here[last]
        else:
            here[last] = value

    return planted


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("spec.hostNetwork", True, "hostNetwork"),
        ("spec.hostPID", True, "hostPID"),
        ("spec.hostIPC", True, "hostIPC"),
        ("spec.volumes", [{"name": "host", "hostPath": {"path": "/"}}], "hostPath"),
        ("spec.volumes", [{"name": "far", "nfs": {"server": "files.example.com", "path": "/"}}], "nfs"),
        ("spec.securityContext.runAsNonRoot", "-", "runAsNonRoot"),
        ("spec.securityContext.runAsUser", 0, "root"),
        ("spec.securityContext.seccompProfile", "-", "seccomp"),
        ("spec.securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
        ("spec.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "65536"}], "kernel.msgmax"),
        ("spec.securityContext.seLinuxOptions", {"type": "spc_t"}, "SELinux"),
        ("spec.securityContext.appArmorProfile", {"type": "Unconfined"}, "AppArmor"),
        ("metadata.annotations", {"container.apparmor.security.beta.kubernetes.io/edge": "unconfined"}, "AppArmor"),
        ("spec.securityContext.windowsOptions", {"hostProcess": True}, "host process"),
        ("*.securityContext.privileged", True, "privileged"),
        ("*.securityContext.allowPrivilegeEscalation", "-", "allowPrivilegeEscalation"),
        ("*.securityContext.capabilities", "-", "not all dropped"),
        ("*.securityContext.capabilities", {"drop": ["NET_RAW"]}, "not all dropped"),
        ("*.securityContext.capabilities.add", ["SYS_ADMIN"], "added"),
        ("*.securityContext.runAsNonRoot", False, "runAsNonRoot"),
        ("*.securityContext.runAsUser", 0, "root"),
        ("*.securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
        ("*.securityContext.procMount", "Unmasked", "procMount"),
        ("*.ports.0.hostPort", 8000, "hostPort"),
        ("*.livenessProbe.httpGet.host", "127.0.0.1", "names a host"),
    ],
)
def test_what_restricted_refuses_is_seen(place: str, value: Any, words: str) -> None:
    edge = template(named(overlay("prod"), "Deployment", "edge"))
    assert not violations(edge)
    put(place, value)(edge)
    assert [problem for problem in violations(edge) if words in problem], violations(edge)


def test_init_containers_are_seen_too() -> None:
    redis = template(named(overlay("prod"), "StatefulSet", "redis"))
    redis["spec"]["initContainers"][0]["securityContext"]["privileged"] = True
    assert violations(redis) == ["who-is-primary: privileged"]
