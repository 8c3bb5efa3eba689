"""The Pod Security Standard `restricted`, as a pure function over pod templates.

Written from the standard's published table of controls (baseline and restricted, version 1.36); the API server decides
by the same table when it admits a pod, but accepts a Deployment whose pods it will never admit, with a warning only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Thing = dict[str, Any]

VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    }
)  # fmt: skip
SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def violations(template: Thing) -> list[str]:
    """What `restricted` would refuse in the pods of this template; empty if nothing."""
    spec = template["spec"]
    every = [*spec.get("initContainers", []), *spec.get("containers", []), *spec.get("ephemeralContainers", [])]
    found = [*_pod(template), *(problem for container in every for problem in _container(container))]
    found += [
        f"{container['name']}: {problem}"
        for container in every
        for problem in _inherited(spec.get("securityContext", {}), container.get("securityContext", {}))
    ]
    return found


def _pod(template: Thing) -> Iterator[str]:
    spec = template["spec"]
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is true"
    for volume in spec.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds))}"
    for sysctl in spec.get("securityContext", {}).get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for key, value in template.get("metadata", {}).get("annotations", {}).items():
        if "apparmor" in key and value not in ("runtime/default", "") and not value.startswith("localhost/"):
            yield f"AppArmor {value}"


def _container(container: Thing) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities are not all dropped"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities are added"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{name}: hostPort"
    hooks = [container.get(probe, {}) for probe in PROBES] + list(container.get("lifecycle", {}).values())
    for hook in hooks:
        if hook.get("httpGet", {}).get("host") or hook.get("tcpSocket", {}).get("host"):
            yield f"{name}: a probe or hook names a host"


def _inherited(pod: Thing, container: Thing) -> Iterator[str]:
    """Controls that a pod sets for its containers, and a container may set for itself."""
    if {**pod, **container}.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if pod.get("runAsUser") == 0 or container.get("runAsUser") == 0:
        yield "runs as root"
    profile: Thing = container.get("seccompProfile") or pod.get("seccompProfile") or {}
    if profile.get("type") not in SECCOMP:
        yield "no seccomp profile"
    for options in (pod, container):
        selinux = options.get("seLinuxOptions", {})
        if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
            yield "SELinux options"
        if options.get("appArmorProfile", {}).get("type") == "Unconfined":
            yield "AppArmor is off"
        if options.get("windowsOptions", {}).get("hostProcess"):
            yield "a host process"
