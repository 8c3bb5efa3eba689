"""Makes `.venv` and installs a lock file into it.  Runs on the system's Python and needs no package.

    python3 tools/install.py requirements.lock

Does nothing if that lock file is installed already.  Every package is pinned by hash.
"""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
LEAST = (3, 11)
TRIES = 3


def fail(message):
    """Print the message to stderr and exit with status 1."""
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    sys.exit(f"{red}{message}{plain}")


def make_venv():
    if sys.version_info < LEAST:
        have = ".".join(map(str, sys.version_info[:3]))
        fail(f"Python 3.11 or newer is needed, this is {have}. Install it, then: make PYTHON=python3.11 <target>")
    if PYTHON.exists():
        return
    print("making .venv", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        subprocess.run(["rm", "-rf", str(VENV)])
        if "ensurepip" in made.stdout + made.stderr:
            fail("Python's venv module is not complete here. On Debian or Ubuntu: sudo apt-get install python3-venv")
        fail(f"python -m venv failed:\n{made.stdout}{made.stderr}")


def stamp(lock):
    """Return the path of the marker file whose presence means that exactly this lock file is installed."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    return VENV / f".installed-{lock.stem}-{digest}"


def install(lock):
    packages = sum(1 for line in lock.read_text().splitlines() if "==" in line)
    command = [str(PYTHON), "-m", "pip", "install", "--require-hashes", "--no-deps", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar", "off", "-r", str(lock)]
    for attempt in range(1, TRIES + 1):
        code, output = run_with_progress(command, packages)
        if code == 0:
            return
        if attempt < TRIES:
            print(f"the installation failed, trying again ({attempt + 1} of {TRIES})", flush=True)
            time.sleep(2 * attempt)
    fail(f"pip could not install {lock.name}:\n" + "\n".join(output[-15:]) + "\nIs the network up?")


def run_with_progress(command, packages):
    """Run pip; show how many packages it has collected, on one line if this is a terminal."""
    began = time.monotonic()
    output = []
    collected = 0
    phase = "fetching"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = threading.Event()

    def show():
        terminal = sys.stdout.isatty()
        while not done.wait(0.5 if terminal else 10):
            line = f"{phase} packages and models: {collected} of about {packages}, {time.monotonic() - began:.0f} s"
            print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", flush=True)

    shower = threading.Thread(target=show, daemon=True)
    shower.start()
    for line in process.stdout:
        output.append(line.rstrip())
        collected += line.startswith("Collecting ")
        if line.startswith("Installing"):
            phase = "installing"
    code = process.wait()
    done.set()
    shower.join()
    print("\r\033[K" if sys.stdout.isatty() else "", end="")
    if code == 0:
        print(f"installed {packages} packages in {time.monotonic() - began:.0f} s", flush=True)
    return code, output


def make_importable(site_packages):
    """Put the repository on the path of `.venv`, so that `.venv/bin/python -m edge.call` works from any folder."""
    path = site_packages / "vobiz-voice-agent.pth"
    if not path.is_file() or path.read_text() != f"{ROOT}\n":
        path.write_text(f"{ROOT}\n")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    lock = ROOT / sys.argv[1]
    make_venv()
    for site_packages in VENV.glob("lib/python*/site-packages"):
        make_importable(site_packages)
    if stamp(lock).exists():
        return
    install(lock)
    for old in VENV.glob(f".installed-{lock.stem}-*"):
        old.unlink()
    stamp(lock).touch()


if __name__ == "__main__":
    main()
