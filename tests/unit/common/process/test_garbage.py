"""What a process is made of is not looked at again by the garbage collector."""

import gc

import pytest

from common.process.node import freeze_garbage

pytestmark = pytest.mark.fast


class Cyclic:
    """An object that only the collector can free."""

    freed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Cyclic.freed += 1


def test_what_was_there_is_left_out_and_what_a_call_leaves_is_collected():
    Cyclic.freed = 0
    Cyclic()  # of the start
    try:
        freeze_garbage()
        assert Cyclic.freed == 1
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1_000
        Cyclic()  # of a call
        gc.collect()
        assert Cyclic.freed == 2
    finally:
        gc.unfreeze()
