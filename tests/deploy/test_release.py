"""The workflow of a release, and the forms of issues: valid for GitHub, and true to what the repository has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.compose_file import PROFILES, services

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
CONFIG = ROOT / ".github/ISSUE_TEMPLATE/config.yml"
SCHEMA_SECONDS = 60
PRIVATE = re.compile(r"phone number|\bnumbers?\b|\bkeys?\b|\btokens?\b|transcript|recording|\bsaid\b|spoken", re.I)
REFUSES = re.compile(r"\b(?:no|not|nothing|none|leave out|replace|without)\b", re.I)


def release() -> dict[str, Any]:
    """The workflow; YAML reads its key `on` as a boolean."""
    read: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    return {**read, "on": read[True]}


def scripts() -> list[str]:
    return [step["run"] for job in release()["jobs"].values() for step in job["steps"] if "run" in step]


def schema_problems(schema: str, *paths: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)],
        capture_output=True, text=True, timeout=SCHEMA_SECONDS,
    )  # fmt: skip
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def test_workflows_and_forms_are_what_github_reads() -> None:
    assert WORKFLOWS and FORMS
    assert schema_problems("github-workflows", *WORKFLOWS) == ""
    assert schema_problems("github-issue-forms", *FORMS) == ""
    assert schema_problems("github-issue-config", CONFIG) == ""


def test_a_form_that_github_would_refuse_is_seen(tmp_path: Path) -> None:
    (tmp_path / "form.yml").write_text("name: x\ndescription: y\nbody: [{type: essay}]\n")
    assert "essay" in schema_problems("github-issue-forms", tmp_path / "form.yml")


# --- the release ---------------------------------------------------------------------------------------------------


def test_a_person_makes_a_release_and_only_its_last_job_writes() -> None:
    workflow = release()
    assert workflow["on"] == {"workflow_dispatch": None}
    assert workflow["permissions"] == {"contents": "read"}
    writing = [name for name, job in workflow["jobs"].items() if "write" in job.get("permissions", {}).values()]
    assert writing == ["release"]
    assert workflow["jobs"]["release"]["needs"] == ["checks", "images"]
    assert not any("needs" in job for name, job in workflow["jobs"].items() if name != "release")


def test_everything_that_a_release_needs_is_checked() -> None:
    text = "\n".join(scripts())
    for command in ("tools.release_notes --tag", "make lock", "git diff --exit-code -- '*.lock'", "--workflow ci.yml"):
        assert command in text
    assert scripts()[-1].splitlines()[-1].startswith('gh release create "$tag" --target "$GITHUB_SHA"'), (
        "the tag is last"
    )
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.split("\n")[0][:40])
def test_its_scripts_are_shell(script: str) -> None:
    ran = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, timeout=SCHEMA_SECONDS)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_image_is_built_and_looked_at() -> None:
    built = {service["image"] for service in services(PROFILES).values() if "build" in service}
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    looked_at = next(script for script in scripts() if "image inspect" in script)
    names = re.search(r"for image in ([\w -]+);", looked_at)
    assert names and {f"voice-{name}:{version[1]}" for name in names[1].split()} == built
    build = next(script for script in scripts() if "docker compose" in script)
    profiles = tuple(re.findall(r"--profile (\w+)", build))
    assert {one["image"] for one in services(profiles).values() if "build" in one} == built


# --- the forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_no_form_asks_for_what_must_not_be_public(path: Path) -> None:
    """A field that speaks of such a thing says not to send it; the words of the labels ask for none."""
    asked = 0
    for field in yaml.safe_load(path.read_text("utf-8"))["body"]:
        attributes = field["attributes"]
        texts = [attributes.get(key, "") for key in ("label", "description", "placeholder", "value")]
        texts += [one["label"] for one in attributes.get("options", ()) if isinstance(one, dict)]
        for sentence in (one for text in texts for one in re.split(r"(?<=[.?:])\s", text)):
            if PRIVATE.search(sentence):
                asked += 1
                assert REFUSES.search(sentence), sentence
    assert asked, "it says nowhere that issues are public"


def test_the_forms_are_those_that_contributing_names() -> None:
    assert [path.stem for path in FORMS] == ["bug", "carrier-behaviour", "new-vendor"]
    headings = re.findall(r"^#+ (.+)$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert "A new vendor" in headings
