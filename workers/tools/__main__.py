"""Runs a tools worker: `python -m workers.tools`."""

import sys

from workers.tools.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
