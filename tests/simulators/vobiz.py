"""`python -m tests.simulators.vobiz`: see `simulators.vobiz`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("simulators.vobiz", run_name="__main__")
