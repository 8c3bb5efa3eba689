"""Checks and updates the digests of the third-party images that we build on or start (deploy/images.env).

    python -m deploy.images            lists the images and the current digest of each tag; 1 if one is missing or old
    python -m deploy.images --offline  asks no registry; 1 if a digest is missing
    python -m deploy.images --write    writes the current digests into the files

The owner of a tag can move it; a digest is the hash of one build.  `name:tag@sha256:…` is understood by
Docker, Compose, containerd and kustomize, which all go by the digest.  The Dockerfile and docker-compose.yml name tags
alone, so that they also work with an engine that has its images from no registry.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    "deploy/images.env",
    "deploy/k8s/overlays/dev/kustomization.yaml",
    "deploy/k8s/overlays/prod/kustomization.yaml",
)
REGISTRY, LOGIN, SERVICE = "https://registry-1.docker.io", "https://auth.docker.io/token", "registry.docker.io"
SECONDS = 20.0
MANIFEST_BYTES_MAX = 4 << 20
KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = r"(?:@sha256:(?P<digest>[0-9a-f]{64}))?"
_NAMED = re.compile(
    r"(?:^(?:ARG )?\w+_IMAGE=|image: \$\{\w+_IMAGE:-|^FROM |^ +image: )"
    rf"(?P<name>[a-z0-9][a-z0-9./-]*):(?P<tag>\w[\w.-]*){_DIGEST}",
    re.MULTILINE,
)
_KUSTOMIZE = re.compile(rf"- name: (?P<name>[a-z0-9/-]+)\n +newTag: (?P<tag>\w[\w.-]*){_DIGEST}", re.MULTILINE)
OURS = re.compile(r"(^|/)voice(-|/)")


@dataclass(frozen=True, slots=True)
class Image:
    """One mention of an image.  `digest` is hexadecimal, or empty if the file names the tag alone."""

    file: str
    name: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


class NoAnswer(Exception):
    """The registry cannot be reached, or its answer is not a digest."""


def named(file: str, text: str) -> Iterator[Image]:
    """Return every third-party image that the file names."""
    for pattern in (_NAMED, _KUSTOMIZE):
        for found in pattern.finditer(text):
            if not OURS.search(found["name"]):
                yield Image(file, found["name"], found["tag"], found["digest"] or "")


def pinned(text: str, image: Image, digest: str) -> str:
    """Return the file's text with this digest behind every mention of the tag."""
    for pattern in (_NAMED, _KUSTOMIZE):
        for found in reversed(list(pattern.finditer(text))):
            if (found["name"], found["tag"]) == (image.name, image.tag):
                text = f"{text[: found.end('tag')]}@sha256:{digest}{text[found.end() :]}"
    return text


def digest_of(name: str, tag: str, registry: str = REGISTRY, login: str = LOGIN) -> str:
    """Return the current digest of the tag at Docker Hub, computed from the manifest.  Raises NoAnswer."""
    repository = name if "/" in name else f"library/{name}"
    scope = urllib.parse.urlencode({"service": SERVICE, "scope": f"repository:{repository}:pull"})
    try:
        token = json.loads(_get(f"{login}?{scope}", {}))["token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": ", ".join(KINDS)}
        manifest = _get(f"{registry}/v2/{repository}/manifests/{tag}", headers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoAnswer(f"{name}:{tag}: {type(error).__name__}") from None
    return hashlib.sha256(manifest).hexdigest()


def _get(url: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - https, or a test's loopback
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
        body: bytes = reply.read(MANIFEST_BYTES_MAX + 1)
    if len(body) > MANIFEST_BYTES_MAX:
        raise ValueError("too long")
    return body


def check(root: Path, write: bool, resolve: Callable[[str, str], str] | None) -> tuple[list[str], bool]:
    """Return a line for each image, and whether all digests are current.  Without `resolve` no registry is asked."""
    lines, all_good = [], True
    for file in FILES:
        text = (root / file).read_text("utf-8")
        for image in list(named(file, text)):
            now = ""
            if resolve is not None:
                try:
                    now = resolve(image.name, image.tag)
                except NoAnswer as error:
                    lines.append(f"{file}: {error}")
                    all_good = False
                    continue
            good = image.digest and now in ("", image.digest)
            if now and write and not good:
                text, good = pinned(text, image, now), "written"
            lines.append(f"{file}: {image} {_word(image, now, bool(good))}")
            all_good = all_good and bool(good)
        if write:
            (root / file).write_text(text, "utf-8")
    return lines, all_good


def _word(image: Image, now: str, good: bool) -> str:
    if good:
        return f"sha256:{(now or image.digest)[:12]}…"
    return f"has moved: it is sha256:{now} now" if image.digest else f"has no digest{f': sha256:{now}' if now else ''}"


def main(argv: Sequence[str] = ()) -> int:
    """Print the state of every image; return 1 if a digest is missing, old or unknown."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description="Images of others, by digest.")
    parser.add_argument("--offline", action="store_true", help="ask no registry")
    parser.add_argument("--write", action="store_true", help="write the current digests into the files")
    asked = parser.parse_args(argv)
    lines, all_good = check(ROOT, asked.write, None if asked.offline else digest_of)
    print("\n".join(lines))  # noqa: T201
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
