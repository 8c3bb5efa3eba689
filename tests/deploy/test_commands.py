"""Every command that the runbook and the READMEs give can be run, and changes a cluster so that it lasts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import redis
import yaml

from tests.deploy.command_checks import problems
from tests.deploy.k8s_manifests import K8S, ROOT, containers, kubectl, named, overlay, render_text, workloads
from tests.deploy.shell_commands import Command, blocks, commands

pytestmark = pytest.mark.processes

PAGES = ("README.md", "CONTRIBUTING.md", "deploy/k8s/README.md", "docs/runbook.md", "docs/compose.md", "docs/bus.md")
RUN_SECONDS = 60
ALL = [command for page in PAGES for command in commands(ROOT / page, page)]


def given(folder: Path, text: str) -> list[Command]:
    (folder / "page.md").write_text(text, "utf-8")
    return commands(folder / "page.md", "page.md")


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_documented_command_can_be_run(command: Command) -> None:
    assert problems(command) == []


def test_commands_are_found() -> None:
    """The test would be content with pages of which it understands nothing."""
    for page, at_least in {"README.md": 15, "deploy/k8s/README.md": 20, "docs/runbook.md": 35}.items():
        assert len([command for command in ALL if command.page == page]) >= at_least


def test_commands_in_the_comments_of_manifests_can_be_run(tmp_path: Path) -> None:
    comments = [
        line.strip("# ")
        for path in sorted(K8S.rglob("*.yaml"))
        for line in path.read_text("utf-8").splitlines()
        if line.lstrip().startswith("#   kubectl")
    ]
    assert comments
    found = given(tmp_path, "\n".join(["```sh", *comments, "```"]))
    assert [problem for command in found for problem in problems(command)] == []


def test_the_namespace_is_there_before_anything_is_put_into_it() -> None:
    page = [command for command in ALL if command.page == "deploy/k8s/README.md"]
    (made,) = (n for n, command in enumerate(page) if "deploy/k8s/base/namespace.yaml" in command.words)
    needing = [
        n for n, c in enumerate(page) if c.words[:3] == ("kubectl", "-n", "voice") or "--dry-run=server" in c.words
    ]
    assert [str(page[n]) for n in needing if n < made] == []


def test_the_images_that_are_loaded_are_those_that_were_built_and_are_run() -> None:
    page = [command.words for command in ALL if command.page == "deploy/k8s/README.md"]
    tags = [words[words.index("--tag") + 1] for words in page if words[:2] == ("docker", "build")]
    built = {tag for tag in tags if not tag.startswith("registry.example.com/")}
    (loaded,) = (set(words[3:]) for words in page if words[:3] == ("kind", "load", "docker-image"))
    run = {one["image"] for workload in workloads(overlay("dev")) for one in containers(workload)}
    assert loaded == built == {image for image in run if not image.startswith("redis:")}


def test_what_is_made_for_the_cluster_is_made_without_one() -> None:
    """`create --dry-run=client` really makes the object that is then applied."""
    made = [c.words for c in ALL if c.words[0] == "kubectl" and "secret" in c.words and "generic" in c.words]
    kinds = []
    for words in made:
        ran = subprocess.run(
            [kubectl(), *words[1:]], env={"KUBECONFIG": os.devnull}, capture_output=True, text=True, timeout=RUN_SECONDS
        )
        assert ran.returncode == 0, ran.stderr
        kinds.append(yaml.safe_load(ran.stdout)["kind"])
    assert kinds == ["Secret"] * 3


def test_redis_knows_what_it_is_told(valkey_url: str) -> None:
    told = [command.words[2:] for command in ALL if command.words[0] == "redis_in"]
    told += [w[w.index("redis-cli") + 1 :] for c in ALL if (w := c.words)[0] == "docker" and "redis-cli" in w]
    server = redis.Redis.from_url(valkey_url)
    unknown = []
    for words in told:
        if words[0] in ("-p", "--bigkeys", "--scan"):
            continue
        name = "|".join(words[:2]) if words[0] in ("config", "script", "xinfo") else words[0]
        (info,) = server.execute_command("COMMAND", "INFO", name).values() or (None,)
        if not info:
            unknown.append(" ".join(words))
    assert len(told) >= 10 and unknown == []


def test_the_patches_of_the_runbook_change_what_they_say(tmp_path: Path) -> None:
    """More members, for an autoscaler of Kubernetes and for KEDA's."""
    (patch,) = (
        yaml.safe_load(block.text)
        for block in blocks((ROOT / "docs/runbook.md").read_text("utf-8"))
        if block.language == "yaml"
    )
    (one,) = patch["patches"]
    (tmp_path / "base.yaml").write_text(yaml.safe_dump_all(overlay("prod")), "utf-8")
    made = {"resources": ["base.yaml"], "patches": [one]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(made), "utf-8")
    spec = named(list(yaml.safe_load_all(render_text(tmp_path))), "HorizontalPodAutoscaler", "stt")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (6, 80)

    keda = re.search(
        r"With KEDA.*?`kind: (\w+)`, `(/spec/\w+)`, `(/spec/\w+)`",
        (ROOT / "docs/runbook.md").read_text("utf-8"),
        re.DOTALL,
    )
    assert keda
    scaled = named(overlay("prod-keda"), keda[1], "stt")["spec"]
    assert all(path.removeprefix("/spec/") in scaled for path in keda.groups()[1:])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("`kubectl -n voice scale deployment/stt --replicas=5`", "change the files"),
        ("`kubectl -n voice set image deployment/tts tts=voice-tts:2`", "change the files"),
        ("`kubectl -n voice patch hpa edge --patch '{}'`", "change the files"),
        ("`kubectl -n voice edit configmap voice-settings`", "change the files"),
        ("`kubectl -n voice autoscale deployment/stt --max=9`", "change the files"),
        ("`kubectl -n voice rollout undo deployment/edge`", "change the files"),
        ("`kubectl -n voice delete hpa --all`", "makes it anew"),
        ("```sh\nkubectl -n voice create secret generic voice-edge --from-literal=A=b\n```", "fails the second time"),
        ("`kubectl -n voice get hpa ears`", "no hpa ears"),
        ("`kubectl -n voise get pods`", "no namespace voise"),
        ("`kubectl -n voice get pods -l app=stt`", "no pod has app=stt"),
        ("`kubectl -n voice rollout status deployment/ears`", "no deployment ears"),
        ("`kubectl -n voice logs --tails=5 deployment/edge`", "has no --tails"),
        ("`kubectl -n voice exec redis-7 -- redis-cli ping`", "no pod redis-7"),
        ("`kubectl -n voice exec deployment/edge -- redis-cli ping`", "has no redis-cli"),
        ("`kubectl apply -k deploy/k8s/overlays/production`", "no kustomization.yaml"),
        ("`redis-cli info`", "no redis-cli but in"),
        ("`redis_in redis-9 info`", "no pod redis-9"),
        ("`redis_in sentinel-0 sentinel failover voice`", "listens on 26379"),
        ("`docker compose logs ears`", "no service ears"),
        ("`docker compose up --waits`", "has no --waits"),
        ("`docker compose --profile metric up`", "no profile metric"),
        ("`docker compose exec edge redis-cli ping`", "has no redis-cli"),
        ("`make tests now`", "no target tests"),
        ("`make call NUMBERS=3`", "knows no NUMBERS"),
        ("`python -m edge`", "it is .venv/bin/python"),
        ("`.venv/bin/python -m edge.phone`", "no module edge.phone"),
        ("`.venv/bin/python -m edge.call --too x`", "has no --too"),
        ("`.venv/bin/python -m simulators.vobiz --script x.json`", "wants --answer-url"),
        ("`curl -i $PUBLIC_URL/healthz`", "does not let /healthz in"),
        ("`curl $API/v1/call/x`", "has no /v1/call/x"),
        ("`curl -s http://127.0.0.1:8000/health > /dev/null`", "has no /health"),
        ("```sh\nfor x in stt ears; do kubectl -n voice logs deployment/$x; done\n```", "no deployment ears"),
        ("```sh\nX=$(kubectl -n voice get secret voice-ears) make demo\n```", "no secret voice-ears"),
        ("```sh\nhelm install voice\n```", "what is helm?"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_run_is_seen(tmp_path: Path, text: str, words: str) -> None:
    found = [problem for command in given(tmp_path, text) for problem in problems(command)]
    assert [problem for problem in found if words in problem], found
