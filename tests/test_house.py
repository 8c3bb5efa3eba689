"""The rules of the house, as tests: what a reviewer would otherwise have to see every time.  CONTRIBUTING.md says why.

Each test is one rule and lists every place that breaks it, as `file:line what`.  Nothing of the program runs here,
but for the settings, the metrics and the messages that the documentation is compared with.
"""

import ast
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from common.protocol import codec, redis_keys
from common.settings import Settings
from common.telemetry import metrics

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("common", "edge", "workers", "voice")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
GIT_SECONDS = 20

BANNED_WORDS = frozenset({"manager", "helper", "helpers", "util", "utils", "base", "handler", "processor", "wrapper"})
UNFINISHED = re.compile(
    r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")) + r")\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.}:/-])/(?:home|root|work|Users|mnt)(?:/|\b)|/tmp/\w|[A-Z]:\\Users")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|\bghcr\.io|\bdocker\.io|deb\.debian\.org|proxy\.golang"
)
PHONE_NUMBER = re.compile(r"(?<![\w.:-])(?:\+\d[\d ()-]{7,16}\d|(?:00|0)?(?:91[ -]?)?[6-9]\d{4}[ -]?\d{5})(?![\w.-])")
PLACEHOLDER = re.compile(r"(?:00|0)?(?:91)?0?(?:123456789\d|9876543210|9112345678)")
"""Nobody's: digits counted up or down, and one that begins with 91 to be told from the country code."""
BINARY = frozenset({".wav", ".png"})

ENVIRONMENT_READERS = (
    "common/settings.py", "common/process/node.py", "workers/providers/child_environment.py", "deploy/", "tools/",
    "workers/tools/environment.py", "simulators/", "tests/", "benchmarks/", "examples/",
)  # fmt: skip
REDIS_USERS = ("common/bus/", "common/redis/", "common/store/", "simulators/", "tools/", "tests/", "benchmarks/")


# --- what there is -------------------------------------------------------------------------------------------------


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is, or would be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=GIT_SECONDS,
    )  # fmt: skip
    return tuple(path for name in sorted(set(listed.stdout.splitlines())) if (path := ROOT / name).is_file())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and (not folders or name(path).startswith(folders))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def texts() -> Iterator[tuple[Path, int, str]]:
    """Every line that people wrote: (file, line number, line)."""
    for path in tracked():
        if path.suffix not in BINARY | {".lock"}:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                yield path, number, line


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (child for child in ast.walk(node) if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def none_of(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


# --- size and names ------------------------------------------------------------------------------------------------


def test_files_and_functions_are_short() -> None:
    problems = []
    for path in python_files():
        lines = len(path.read_text("utf-8").splitlines())
        if lines > FILE_LINES_MAX:
            problems.append(f"{name(path)} has {lines} lines; at most {FILE_LINES_MAX}")
        for function in functions(tree(path)):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                problems.append(
                    f"{name(path)}:{function.lineno} {function.name} has {lines}; at most {FUNCTION_LINES_MAX}"
                )
    none_of(problems)


def test_files_and_classes_are_named_for_their_domain() -> None:
    named = [(path, 1, path.stem) for path in python_files()]
    for path in python_files():
        named += [(path, node.lineno, node.name) for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    none_of([f"{name(path)}:{line} {word}" for path, line, word in named if BANNED_WORDS & set(_words(word))])


def _words(identifier: str) -> list[str]:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", identifier).lower().split("_")


def test_our_packages_are_ours() -> None:
    """These names are taken on the package index; a folder without __init__.py would lose to them."""
    for package in PACKAGES:
        module = __import__(package)
        assert module.__file__ == str(ROOT / package / "__init__.py")
    folders = {path.parent for path in python_files(*(f"{package}/" for package in PACKAGES))}
    none_of([f"{name(folder)} has no __init__.py" for folder in folders if not (folder / "__init__.py").is_file()])


# --- documentation in the code -------------------------------------------------------------------------------------


def test_what_is_public_says_what_it_means() -> None:
    problems = []
    for path in python_files(*(f"{package}/" for package in PACKAGES)):
        module = tree(path)
        if not ast.get_docstring(module):
            problems.append(f"{name(path)}:1 the module")
        problems += [f"{name(path)}:{line} {what}" for line, what in _undocumented(module, "")]
    none_of(problems)


def _undocumented(scope: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[int, str]]:
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not (isinstance(scope, ast.ClassDef) and _explained(scope, node)):
            yield node.lineno, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, f"{prefix}{node.name}.")


def _explained(owner: ast.ClassDef, node: ast.stmt) -> bool:
    """Does something else say what this method does: its name, its class, the protocol it keeps, or a library?"""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    bases = {ast.unparse(base).partition("[")[0] for base in owner.bases}
    about = ast.get_docstring(owner) or ""
    if any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
        return True
    if "Protocol" in bases:
        return bool(about)
    kept = re.match(r"(?:See|Implements) `(\w+(?:\.\w+)*)\.(\w+)`", about)
    return bool(bases - {"Generic"}) or bool(kept and node.name in _methods(*kept.groups()))


def _methods(module: str, protocol: str) -> set[str]:
    """The methods of a protocol, and of those in its module that it inherits from."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    found = tree(path if path.is_file() else path.with_suffix("") / "__init__.py")
    classes = {node.name: node for node in found.body if isinstance(node, ast.ClassDef)}
    if protocol not in classes:
        return set()
    inherited = (_methods(module, ast.unparse(parent)) for parent in classes[protocol].bases)
    return {function.name for function in functions(classes[protocol])}.union(*inherited)


def test_nothing_is_left_for_later() -> None:
    none_of(
        [f"{name(path)}:{number} {found[0]}" for path, number, line in texts() if (found := UNFINISHED.search(line))]
    )


# --- errors and what may be used where -----------------------------------------------------------------------------


def test_no_error_is_swallowed() -> None:
    """`pass` needs a reason on its line; whoever catches everything, or a cancellation, must raise it again."""
    problems = []
    for path in python_files():
        lines = path.read_text("utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = set(re.findall(r"\w+", ast.unparse(node.type))) if node.type else {"BaseException"}
            if len(node.body) == 1 and isinstance(node.body[0], ast.Pass) and "#" not in lines[node.body[0].lineno - 1]:
                problems.append(f"{name(path)}:{node.lineno} passes over {', '.join(sorted(caught))} without a reason")
            if caught & {"BaseException", "CancelledError"} and not any(
                isinstance(n, ast.Raise) for n in ast.walk(node)
            ):
                problems.append(f"{name(path)}:{node.lineno} keeps a cancellation")
    none_of(problems)


def test_only_the_settings_read_the_environment() -> None:
    problems = []
    for path in python_files():
        if name(path).startswith(ENVIRONMENT_READERS):
            continue
        nodes = list(ast.walk(tree(path)))
        # Setting a variable for a library is no reading.
        stores = {id(n.value) for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)}
        stores |= {id(n.value) for n in nodes if isinstance(n, ast.Attribute) and n.attr == "setdefault"}
        for node in nodes:
            if isinstance(node, ast.Attribute) and id(node) not in stores:
                read = ast.unparse(node) in ("os.environ", "os.environb", "os.getenv")
            else:
                read = isinstance(node, ast.ImportFrom) and bool(re.match(r"from os import .*env", ast.unparse(node)))
            if read:
                problems.append(f"{name(path)}:{getattr(node, 'lineno', 0)} reads the environment")
    none_of(problems)


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("prometheus_client", ("common/telemetry/metrics.py", "common/telemetry/label_sets.py")),
        ("redis", REDIS_USERS),
        ("hiredis", REDIS_USERS),
    ],
)
def test_a_library_stays_where_it_belongs(library: str, users: tuple[str, ...]) -> None:
    places = [(path, line) for path in python_files() for line, package in imports(path) if package == library]
    assert places, f"nobody imports {library}: the rule is stale"
    none_of([f"{name(path)}:{line} imports {library}" for path, line in places if not name(path).startswith(users)])


def test_import_contracts_are_kept() -> None:
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    ran = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_tests_neither_sleep_nor_patch_us() -> None:
    problems = []
    for path in python_files("tests/"):
        containers = name(path).startswith("tests/compose/")  # a program of its own: they live on the real clock
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Attribute | ast.ImportFrom | ast.Import):
                continue
            used = ast.unparse(node)
            if used == "time.sleep" and name(path) != "tests/conftest.py" and not containers:
                problems.append(f"{name(path)}:{node.lineno} sleeps on the real clock")
            if re.fullmatch(r"monkeypatch\.(?:setattr|delattr|setitem|delitem)|mock(?:er)?\.patch", used):
                problems.append(f"{name(path)}:{node.lineno} patches")
            if re.match(
                r"import .*\bmock\b|from (?:unittest|mock)\b.* import .*[mM]ock|from time import .*\bsleep\b", used
            ):
                problems.append(f"{name(path)}:{node.lineno} {used}")
    none_of(problems)


# --- what the repository may say -----------------------------------------------------------------------------------


def test_no_machine_and_no_registry_is_named() -> None:
    problems = []
    for path, number, line in texts():
        for found in (MACHINE_PATH.search(line), REGISTRY.search(line)):
            if found and name(path) != "deploy/images.py":  # asks the one that a name without a registry means
                problems.append(f"{name(path)}:{number} {found[0]}")
    none_of(problems)


def test_no_phone_number_is_anybodys() -> None:
    """Says where, not what: a real number must not reach a log of CI either."""
    problems = []
    for path, number, line in texts():
        for found in PHONE_NUMBER.findall(line):
            if not PLACEHOLDER.fullmatch(re.sub(r"\D", "", found)):
                problems.append(f"{name(path)}:{number} has a phone number; write +91 12345 67890")
    none_of(problems)


def test_links_lead_somewhere() -> None:
    problems = []
    for path in (path for path in tracked() if path.suffix == ".md"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'(?:src|href|srcset)="([^"]+)"', text)
        for target in targets:
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            found = (path.parent / file).resolve() if file else path
            if not found.exists():
                problems.append(f"{name(path)}: {target} is not there")
            elif anchor and found.suffix == ".md" and anchor not in _anchors(found):
                problems.append(f"{name(path)}: {target} has no such heading")
    none_of(problems)


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


# --- the reference pages -------------------------------------------------------------------------------------------


def rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page, without heads and rules."""
    found = []
    for line in (ROOT / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if cells and not re.fullmatch(r":?-+:?", cells[0]):
            found.append(cells)
        elif cells and found:
            found.pop()
    return found


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_settings_are_documented() -> None:
    fields = {field.name.upper(): field.default for field in dataclasses.fields(Settings)}
    documented = {names_in(cells[0])[0]: cells for cells in rows("docs/settings.md")}
    offered = re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert set(documented) == set(fields)
    assert [variable for variable, _ in offered] == list(fields)
    for variable, value in offered:
        shown = names_in(documented[variable][1])
        assert value == str(fields[variable]), f".env.example: the default of {variable} is {fields[variable]!r}"
        assert shown == ([str(fields[variable])] if fields[variable] != "" else []), f"docs/settings.md: {variable}"


def test_metrics_are_documented() -> None:
    expected = {}
    for metric in vars(metrics).values():
        if hasattr(metric, "describe") and hasattr(metric, "_labelnames"):
            family = metric.describe()[0]
            expected[family.name + ("_total" if family.type == "counter" else "")] = list(metric._labelnames)
    assert {names_in(cells[0])[0]: names_in(cells[1]) for cells in rows("docs/metrics.md")} == expected


def test_messages_are_documented() -> None:
    expected = {str(tag): (cls.__name__, list(cls.__struct_fields__)) for cls, tag in codec.TAGS.items()}
    tables = [cells for cells in rows("docs/bus.md") if cells[0].isdecimal()]
    assert {cells[0]: (names_in(cells[1])[0], names_in(cells[2])) for cells in tables} == expected


def test_keys_are_documented() -> None:
    made = {redis_keys.CALLS_LIVE, redis_keys.CALLS_ENDED, redis_keys.CALLS_TO_COMPACT, redis_keys.STREAM_SECRET}
    for function in functions(tree(ROOT / "common/protocol/redis_keys.py")):
        patterns = [node for node in ast.walk(function) if isinstance(node, ast.JoinedStr)]
        if function.name != "shard" and patterns:
            key = ast.unparse(patterns[0])[2:-1].replace("{shard(call_id)}", "{sNN}").replace("{call_id}", "<id>")
            made.add(re.sub(r"\{(edge|pool|kind)\}", r"<\1>", key))
    documented = {names_in(cells[0])[0] for cells in rows("docs/bus.md") if ":" in cells[0] and names_in(cells[0])}
    assert {key for key in documented if not key.startswith(("{dials}", "{agents}", "speech:"))} == made


# --- how it is built -----------------------------------------------------------------------------------------------


def test_every_way_to_check_is_the_same() -> None:
    """`.ci/run` and the workflow call the targets that people call."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    steps_of = {"check": ["lint", "test-fast"], "test": ["$(PYTEST)", '"not slow"'], "test-all": ["$(PYTEST)"]}
    steps_of["test-fast"] = ["$(PYTEST)", '"fast and not exhaustive and not slow"']
    steps_of["lint"] = ["ruff", "mypy", "lint-imports", "tests/test_house.py"]
    for target, steps in steps_of.items():
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        assert recipe and all(step in recipe[1] for step in steps), f"make {target} must run {', '.join(steps)}"
    for place, more in ((".ci/run", []), (".github/workflows/ci.yml", ["make test-compose"])):  # which has an engine
        assert (ROOT / place).is_file(), f"{place} is missing"
        called = re.findall(r"^(?:\s*-?\s*run:)?\s*(make .+?)\s*$", (ROOT / place).read_text("utf-8"), re.MULTILINE)
        assert called == ["make lint", "make test-all", *more], f"{place} calls {called}"


def test_lock_files_pin_by_hash_and_agree() -> None:
    pins: dict[str, set[str]] = {}
    for lock in ("requirements.lock", "requirements-dev.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text("utf-8").strip())
        pinned = {entry.split()[0]: entry for entry in entries if not entry.startswith("#")}
        none_of([f"{lock}: {pin} is not pinned by version" for pin in pinned if "==" not in pin])
        none_of([f"{lock}: {pin} has no hash" for pin, entry in pinned.items() if "--hash=sha256:" not in entry])
        pins[lock] = set(pinned)
    assert pins["requirements.lock"]
    more = pins["requirements.lock"] - pins["requirements-dev.lock"]
    none_of([f"requirements-dev.lock has not {pin}, as requirements.lock has" for pin in sorted(more)])
