"""Which build a process says it is: of an image, of a checkout, of neither."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from common.process.build import UNKNOWN, VERSION, this_build
from common.telemetry import metrics

pytestmark = pytest.mark.processes

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[4]


def written(folder: Path, **files: str) -> Path:
    """A tree of files; `__` in a name is a folder's slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def git(folder: Path, name: str, text: str) -> None:
    path = folder / ".git" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == VERSION
    assert this_build().version == VERSION


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        (COMMIT + "\n", "0123456789ab"),
        ("v1.2.3-4-gabcdef\n", "v1.2.3-4-gabcdef"),
        ("unknown\n", UNKNOWN),
        ("", UNKNOWN),
        ('a"b} 1\n', UNKNOWN),
        ("x" * 65, UNKNOWN),
    ],
)
def test_an_image_has_its_revision_in_a_file(tmp_path: Path, text: str, revision: str) -> None:
    assert this_build(written(tmp_path, REVISION=text)).revision == revision


def test_a_checkout_says_its_commit(tmp_path: Path) -> None:
    git(tmp_path, "HEAD", "ref: refs/heads/main\n")
    assert this_build(tmp_path).revision == UNKNOWN, "a branch without a commit"
    git(tmp_path, "packed-refs", f"# pack-refs with: peeled\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n")
    assert this_build(tmp_path).revision == COMMIT[:12]
    git(tmp_path, "refs/heads/main", "e" * 40 + "\n")
    assert this_build(tmp_path).revision == "e" * 12, "a loose reference is newer than a packed one"
    git(tmp_path, "HEAD", COMMIT + "\n")
    assert this_build(tmp_path).revision == COMMIT[:12], "no branch is checked out"


def test_a_worktree_says_its_commit(tmp_path: Path) -> None:
    git(tmp_path / "main", "worktrees/other/HEAD", "ref: refs/heads/other\n")
    git(tmp_path / "main", "worktrees/other/commondir", "../..\n")
    git(tmp_path / "main", "refs/heads/other", COMMIT + "\n")
    other = written(tmp_path / "other", **{".git": f"gitdir: {tmp_path}/main/.git/worktrees/other\n"})
    assert this_build(other).revision == COMMIT[:12]


def test_it_agrees_with_git_itself() -> None:
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=20)
    if asked.returncode:
        pytest.skip("no checkout")
    assert this_build().revision == asked.stdout[:12]


def test_what_is_no_checkout_is_unknown(tmp_path: Path) -> None:
    assert this_build(tmp_path).revision == UNKNOWN
    git(tmp_path, "HEAD", "\xff")
    assert this_build(tmp_path).revision == UNKNOWN


@pytest.mark.parametrize("process", ["edge", "stt", "llm", "tts", "tools"])
def test_every_process_says_which_build_it_is(process: str) -> None:
    metrics.begin(process, 7)
    build = this_build()
    line = f'voice_build_info{{process="{process}",revision="{build.revision}",version="{VERSION}"}} 1.0'
    assert line in metrics.exposition().decode().splitlines()
