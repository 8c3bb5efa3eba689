"""Can a documented command be run?  Each function takes one command and returns what is wrong with it.

Targets, services, resources, modules, flags, files and paths are looked up where they are defined; changes of a cluster
must be declarative, since autoscalers and whoever applies the files undo the others.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.deploy.k8s_manifests import (
    ROOT,
    Thing,
    containers,
    kubectl,
    of_kind,
    overlay,
    selects,
    template,
    workloads,
)
from tests.deploy.shell_commands import PROGRAMS, Command

HELP_SECONDS = 60
NAMESPACES = {"voice": "prod", "voice-dev": "dev"}
READS = frozenset({"get", "describe", "logs", "top", "wait", "diff", "port-forward", "exec", "version"})
NODES = frozenset({"drain", "cordon", "uncordon"})
"""Which nodes take pods is nobody's file."""
MADE_HERE = frozenset({"printf", "call.wav", "call.json", "script.json", "tls.crt", "tls.key", ".env"})
"""Files that the reader makes, or has."""
SENTINEL_ASKS = frozenset({"get-master-addr-by-name", "failover", "masters", "replicas", "ckquorum"})


def problems(command: Command) -> list[str]:
    """All that is wrong with it, each with the command."""
    words = command.words
    check = CHECKS.get(words[0])
    if words[0] not in PROGRAMS | {"."}:
        return [f"{command}: what is {words[0]}?"]
    return [f"{command}: {problem}" for problem in (check(command) if check else [])]


def _flags(words: Sequence[str]) -> Iterator[str]:
    """Options up to `--`, without their values."""
    for word in words:
        if word == "--":
            return
        if re.match(r"--?[a-zA-Z]", word):
            yield word.partition("=")[0]


# --- make, python, redis-cli, curl ---------------------------------------------------------------------------------


def _make(command: Command) -> list[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = []
    for word in command.words[1:]:
        name, given, _ = word.partition("=")
        if given and f"$({name})" not in makefile:
            found.append(f"the Makefile knows no {name}")
        elif not given and not re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE):
            found.append(f"there is no target {name}")
    return found


def _python(command: Command) -> list[str]:
    words = command.words
    if words[1].startswith("examples/") and (ROOT / words[1]).is_file():
        return []
    found = [] if words[0].startswith(".venv/") else ["outside of a container it is .venv/bin/python"]
    return found + _module(words[1:])


def _module(words: Sequence[str]) -> list[str]:
    """`-m module --options`."""
    if words[:1] != ("-m",) and list(words[:1]) != ["-m"]:
        return ["only modules are started"]
    module, options = words[1], words[2:]
    place = ROOT.joinpath(*module.split("."))
    if module == "pytest":
        return [f"there is no {path}" for path in options if path.startswith("tests/") and not (ROOT / path).exists()]
    if not place.with_suffix(".py").is_file() and not (place / "__main__.py").is_file():
        return [f"there is no module {module}"]
    flags = list(_flags(options))
    if not options and not _required(module):
        return []
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", _help(module)))
    found = [f"{module} has no {flag}" for flag in flags if flag not in known]
    return found + [f"{module} wants {flag}" for flag in _required(module) if flag not in flags]


@functools.cache
def _help(module: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=HELP_SECONDS
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _required(module: str) -> list[str]:
    """Options that its usage shows without brackets; none of a module that reads no options."""
    sources = [ROOT.joinpath(*module.split(".")).with_suffix(".py"), ROOT.joinpath(*module.split("."), "__main__.py")]
    if not any("ArgumentParser" in path.read_text("utf-8") for path in sources if path.is_file()):
        return []
    usage = _help(module).partition("usage:")[2].partition("\n\n")[0]
    while "[" in usage:
        usage = re.sub(r"\[[^\[\]]*\]", "", usage)
    return re.findall(r"--[a-z][\w-]*", usage)


def _redis_cli(command: Command) -> list[str]:
    return ["there is no redis-cli but in the containers of Redis"]


def _redis_in(command: Command) -> list[str]:
    pod, *words = command.words[1:]
    if not words:
        return ["nothing is asked"]
    found = [] if pod in _pods("prod") else [f"there is no pod {pod}"]
    return found + _redis_words(pod, words)


def _redis_words(pod: str, words: Sequence[str]) -> list[str]:
    """What redis-cli is told there; tests/deploy/test_commands.py asks a server about the command's name."""
    sentinel = pod.startswith("sentinel")
    if sentinel != (list(words[:2]) == ["-p", "26379"]):
        return ["a sentinel listens on 26379, and nobody else does"]
    rest = words[2:] if sentinel else words
    if sentinel and (rest[0] != "sentinel" or rest[1] not in SENTINEL_ASKS):
        return [f"a sentinel knows no {' '.join(rest)}"]
    return []


def _curl(command: Command) -> list[str]:
    """Its path, if it is the edge's or what the Ingress lets in."""
    urls = [word for word in command.words[1:] if re.match(r"https?://|\$(?:API|PUBLIC_URL)\b", word)]
    return [problem for url in urls for problem in _served(url)] if urls else ["it names no address"]


def _served(url: str) -> list[str]:
    path = "/" + re.sub(r"^(\$\w+|https?://[^/]+)/?", "", url)
    if url.startswith(("$PUBLIC_URL", "https://voice.example.com")):
        (ingress,) = of_kind(overlay("prod"), "Ingress")
        served = {one["path"] for one in ingress["spec"]["rules"][0]["http"]["paths"]}
        return [] if path in served else [f"the Ingress does not let {path} in"]
    if not url.startswith("$API") and urlsplit(url).netloc not in ("127.0.0.1:8000", "localhost:8000"):
        return []
    sources = "".join(path.read_text("utf-8") for path in sorted((ROOT / "edge").rglob("*.py")))
    written = re.findall(r'Route\(\s*"([^"]+)"', sources)
    written += re.findall(r'^ +"(/[\w{}/-]+)": (?:self\.|\{)', sources, re.MULTILINE)
    routes = {re.sub(r"\{\w+\}", "[^/]+", route) for route in written}
    return [] if any(re.fullmatch(route, path) for route in routes) else [f"the edge has no {path}"]


# --- docker --------------------------------------------------------------------------------------------------------


def _docker(command: Command) -> list[str]:
    words = command.words[1:]
    if words[:1] == ("compose",) and words[1:]:
        return _compose(words[1:])
    if words[:1] != ("build",) or "--target" not in words:
        return []
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    target = words[words.index("--target") + 1]
    return [] if target in stages else [f"the Dockerfile has no target {target}"]


def _compose(words: Sequence[str]) -> list[str]:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", [])}
    found = []
    while words[0] in ("--profile", "--env-file"):
        if words[0] == "--profile":
            found += [] if words[1] in profiles else [f"there is no profile {words[1]}"]
        elif words[1] != ".env":
            found += [] if (ROOT / words[1]).is_file() else [f"there is no file {words[1]}"]
        words = words[2:]
    verb, *rest = words
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", _compose_help(verb)))
    named: list[str] = []
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            found += [] if word.partition("=")[0] in known else [f"compose {verb} has no {word}"]
            if word == "--scale":
                named.append(rest.pop(0).partition("=")[0])
            continue
        named.append(word)
        if verb in ("exec", "run"):
            break  # the rest is for the container
    found += [f"there is no service {name}" for name in named if name not in services]
    return found + (_inside(f"compose {named[0]}", rest) if verb == "exec" and named else [])


@functools.cache
def _compose_help(verb: str) -> str:
    program = Path(sys.executable).parent / "docker-compose"
    ran = subprocess.run([program, verb, "--help"], capture_output=True, text=True, timeout=HELP_SECONDS)
    assert ran.returncode == 0 and f"compose {verb}" in ran.stdout, f"compose has no {verb}"
    return ran.stdout


def _inside(where: str, words: Sequence[str]) -> list[str]:
    """A command for a container: Redis' have redis-cli, ours have Python."""
    if where.endswith(("redis", "sentinel")) or "redis-" in where or "sentinel-" in where or "$pod" in where:
        return [] if words[0] in ("redis-cli", "sh") else [f"{where} has no {words[0]}"]
    if where == "compose grafana":
        return [] if words[0] == "grafana" else [f"{where} has no {words[0]}"]
    if words[0] != "python":
        return [f"{where} has no {words[0]}"]
    package = words[2].split(".")[0]
    part = "edge" if where.endswith("edge") else "workers"
    return _module(words[1:]) + ([] if package in (part, "common") else [f"{where} has no {package}"])


# --- kubectl -------------------------------------------------------------------------------------------------------


def _kubectl(command: Command) -> list[str]:
    words = list(command.words[1:])
    namespace = ""
    if words[0] == "-n":
        namespace, words = words[1], words[2:]
    verb = words[0]
    found = [f"{verb}: {problem}" for problem in _undone(verb, words, command)]
    found += [f"kubectl {verb} has no {flag}" for flag in _flags(words) if flag not in _kubectl_flags(tuple(words))]
    found += _files(words)
    if namespace in NAMESPACES:
        found += _resources(overlay(NAMESPACES[namespace]), words)
    elif namespace and namespace != "monitoring":
        found.append(f"there is no namespace {namespace}")
    return found


def _undone(verb: str, words: Sequence[str], command: Command) -> list[str]:
    """Why a change would not last, or would fail the second time."""
    if verb in READS | NODES | {"apply", "kustomize"}:
        return []
    if verb == "rollout":
        return [] if words[1] in ("status", "restart", "history") else ["the next apply undoes it: change the files"]
    if verb == "delete":
        return [] if words[1] in ("pod", "-f") else ["whoever applies the files makes it anew"]
    if verb == "create":
        applied = command.piped_to[:1] == ("kubectl",) and "--dry-run=client" in words and "--output=yaml" in words
        return [] if applied else ["it fails the second time: --dry-run=client --output=yaml | kubectl apply -f -"]
    if verb == "label" and "--local" in words:
        return []
    return ["autoscalers, or whoever applies the files, undo it: change the files"]


@functools.cache
def _kubectl_flags(words: tuple[str, ...]) -> frozenset[str]:
    verb = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)][:3]
    depth = {"create": 3 if verb[1:2] == ["secret"] else 2, "rollout": 2}.get(verb[0], 1)
    shown = ""
    for asked in ([*verb[:depth], "--help"], ["options"]):
        ran = subprocess.run([kubectl(), *asked], capture_output=True, text=True, timeout=HELP_SECONDS)
        assert ran.returncode == 0, ran.stderr
        shown += ran.stdout
    return frozenset(re.findall(r"^ +(?:(-\w), )?", shown, re.MULTILINE)) | frozenset(
        re.findall(r"(--[a-z][\w-]*)=", shown)
    )


def _files(words: Sequence[str]) -> list[str]:
    """What follows -f and -k is there, and can be rendered."""
    found = []
    for flag, value in pairwise(words):
        if flag == "-f" and value != "-" and not (ROOT / value).is_file():
            found.append(f"there is no {value}")
        if flag == "-k" and not (ROOT / value / "kustomization.yaml").is_file():
            found.append(f"{value} has no kustomization.yaml")
    for word in words:
        for key in ("--cert=", "--key=", "--from-file="):
            path = word.removeprefix(key)
            if word.startswith(key) and path not in MADE_HERE and not (ROOT / path).exists():
                found.append(f"there is no {path}")
    return found


KINDS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "service": "Service",
    "hpa": "HorizontalPodAutoscaler",
    "secret": "Secret",
    "pod": "Pod",
}
SECRETS = frozenset({"voice-redis-admin", "voice-edge", "voice-vendors", "voice-tls"})
"""Made by the reader."""


def _resources(objects: Sequence[Thing], words: Sequence[str]) -> list[str]:
    before = list(words[: words.index("--")] if "--" in words else words)
    found = [f"there is no {kind} {name}" for kind, name in _named(before) if not _there(objects, kind, name)]
    if "-l" in before:
        key, _, value = before[before.index("-l") + 1].partition("=")
        templates = [template(one)["metadata"]["labels"] for one in workloads(objects)]
        if not any(selects({"matchLabels": {key: value}}, labels) for labels in templates):
            found.append(f"no pod has {key}={value}")
    if words[0] == "exec":
        place = next(word for word in words[1:] if not word.startswith("-"))
        if "/" not in place and not place.startswith("$") and place not in _pods_of(objects):
            found.append(f"there is no pod {place}")
        found += _inside(place, words[list(words).index("--") + 1 :])
    if words[0] == "port-forward":
        port = words[2].partition(":")[2]
        known = {port["name"] for one in workloads(objects) for c in containers(one) for port in c.get("ports", [])}
        found += [] if port in known else [f"nobody has a port {port}"]
    return found


def _named(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(kind, name) of the resources that it speaks of: `kind/name`, or `get kind name`."""
    for word in words:
        kind, slash, name = word.partition("/")
        if slash and kind in KINDS:
            yield kind, name
    for kind, name in pairwise(words[1:]):
        if kind in KINDS and words[0] in ("get", "delete") and not name.startswith("-"):
            yield kind, name


def _there(objects: Sequence[Thing], kind: str, name: str) -> bool:
    if kind == "pod":
        return name in _pods_of(objects)
    if kind == "secret":
        return name in SECRETS
    return (KINDS[kind], name) in {(one["kind"], one["metadata"]["name"]) for one in objects}


def _pods_of(objects: Sequence[Thing]) -> set[str]:
    return {
        f"{one['metadata']['name']}-{number}"
        for one in of_kind(objects, "StatefulSet")
        for number in range(one["spec"].get("replicas", 1))
    }


def _pods(name: str) -> set[str]:
    return _pods_of(overlay(name))


CHECKS: dict[str, Callable[[Command], list[str]]] = {
    "make": _make,
    "python": _python,
    ".venv/bin/python": _python,
    "redis-cli": _redis_cli,
    "redis_in": _redis_in,
    "curl": _curl,
    "docker": _docker,
    "kubectl": _kubectl,
}
