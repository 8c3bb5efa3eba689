"""Images and actions of others: by digest or commit, with the tag beside it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.images import FILES, ROOT, NoAnswer, check, digest_of, main, named
from tests.deploy.compose_dockerfile import stages
from tests.deploy.compose_file import PROFILES, services
from tests.deploy.k8s_manifests import OVERLAYS, containers, overlay, workloads

pytestmark = pytest.mark.processes

BY_TAG = {"ngrok/ngrok"}
"""Whose digest nobody could tell when this was written; nothing but the profile `tunnel` uses it."""
DIGEST = "0" * 64
BUILDS = ("Dockerfile", "deploy/compose/redis.Dockerfile")
OWN = re.compile(r"(^|/)voice[-/]")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def by_digest(image: str) -> bool:
    return bool(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image))


def by_variable() -> dict[str, str]:
    lines = (ROOT / "deploy/images.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_each_image_that_the_files_name_has_its_digest_beside_them() -> None:
    """They name tags, for engines without a registry; the variables of deploy/images.env put the digests in."""
    named_by_tag = dict[str, str]()
    for file in ("Dockerfile", "deploy/compose/redis.Dockerfile", "docker-compose.yml"):
        text = (ROOT / file).read_text("utf-8")
        named_by_tag.update(re.findall(r"(?:ARG |\$\{)(\w+_IMAGE)(?:=|:-)([\w./-]+:[\w.-]+)", text))
    known = by_variable()
    assert {variable: image.partition("@")[0] for variable, image in known.items()} == named_by_tag
    assert {image.partition(":")[0] for image in known.values() if not by_digest(image)} == BY_TAG


def test_nothing_is_built_on_or_pulled_that_has_no_variable() -> None:
    outside = {stage.image for path in BUILDS for stage in stages(ROOT / path).values() if stage.parent is None}
    pulled = {service["image"] for service in services(PROFILES).values() if "build" not in service}
    tags = {image.partition("@")[0] for image in by_variable().values()}
    assert outside | pulled <= tags and len(pulled) == 4


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_the_cluster_pulls_is_a_digest(name: str) -> None:
    images = {one["image"] for workload in workloads(overlay(name)) for one in containers(workload)}
    assert {image for image in images if not OWN.search(image) and not by_digest(image)} == set()
    assert any(image.startswith("redis:") for image in images)


def test_one_tag_has_one_digest() -> None:
    images = [image for file in FILES for image in named(file, (ROOT / file).read_text("utf-8"))]
    assert {str(image) for image in images} >= {"python:3.11-slim", "redis:7", "redis:7.4-bookworm"}
    digests: dict[str, set[str]] = {}
    for image in images:
        digests.setdefault(str(image), set()).add(image.digest)
    assert all(len(found) == 1 for found in digests.values())


def test_offline_it_says_which_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--offline"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].partition(":")[0] for line in lines if "no digest" in line] == sorted(BY_TAG)


def copied(folder: Path) -> Path:
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    return folder


def test_what_has_moved_is_told_and_written(tmp_path: Path) -> None:
    root = copied(tmp_path)
    lines, well = check(root, False, lambda name, tag: DIGEST)
    assert not well and len(lines) == 8 and all(f"sha256:{DIGEST}" in line for line in lines)
    assert (root / FILES[0]).read_text() == (ROOT / FILES[0]).read_text()
    assert check(root, True, lambda name, tag: DIGEST)[1]
    assert check(root, False, lambda name, tag: DIGEST)[1]
    images = [image for file in FILES for image in named(file, (root / file).read_text("utf-8"))]
    assert len(images) == 8 and {image.digest for image in images} == {DIGEST}


class Registry(BaseHTTPRequestHandler):
    """Docker Hub's two servers: a token for who asks, a manifest for who has it."""

    manifest = json.dumps({"schemaVersion": 2, "manifests": []}).encode()

    def do_GET(self) -> None:
        if self.path.startswith("/token?"):
            return self._reply(
                200, json.dumps({"token": "t" if "library%2Fredis%3Apull" in self.path else "no"}).encode()
            )
        known = self.path == "/v2/library/redis/manifests/7" and "image.index" in self.headers["Accept"]
        allowed = self.headers["Authorization"] == "Bearer t"
        return self._reply(200, self.manifest) if known and allowed else self._reply(404, b"{}")

    def _reply(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_digest_is_computed_from_what_the_registry_sent(hub: str) -> None:
    found = digest_of("redis", "7", hub, f"{hub}/token")
    assert found == hashlib.sha256(Registry.manifest).hexdigest()
    with pytest.raises(NoAnswer, match="redis:8"):
        digest_of("redis", "8", hub, f"{hub}/token")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_a_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text("utf-8"))
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used)
