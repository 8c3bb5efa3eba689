"""Orders of a chaos run: the event logs against what the shop did."""

import json

import pytest

from benchmarks.chaos.orders import OrderCounts, ShopReport, count_orders

pytestmark = pytest.mark.fast

CALL = "chaos-1"
ORDER = "one seven by zero three"


def log(*outcomes: str) -> dict[str, str]:
    """One call of the tool, with these outcomes, of which the first counts."""
    called = {"turn": 2, "first": 0, "calls": [["call_1", "place_order", json.dumps({"order": ORDER})]]}
    returned = [{"turn": 2, "n": 0, "outcome": outcome} for outcome in outcomes]
    events = [("ToolsCalled", called), *(("ToolReturned", one) for one in returned)]
    return {CALL: "\n\n".join(f"event: {name}\ndata: {json.dumps(body)}" for name, body in events)}


PLACED = {f"{CALL}:2:0": 1}
SHOWN = frozenset({ORDER})


@pytest.mark.parametrize(
    ("outcomes", "shop", "counts"),
    [
        (["done"], ShopReport(PLACED, SHOWN), OrderCounts(asked=1, placed=1)),
        (["timeout", "done"], ShopReport(PLACED, SHOWN), OrderCounts(asked=1, placed=1, unknown=1)),
        (["done"], ShopReport(PLACED, notes={"zero three": 1}), OrderCounts(asked=1, placed=1)),
        (["done"], ShopReport(PLACED), OrderCounts(asked=1, placed=1, forgotten=1)),
        (["done"], ShopReport({}, SHOWN), OrderCounts(asked=1, untrue=1)),
        (["failed"], ShopReport(PLACED, SHOWN), OrderCounts(asked=1, placed=1, untrue=1)),
        ([], ShopReport(PLACED), OrderCounts(asked=1, placed=1, lost=1)),
        (["done"], ShopReport({f"{CALL}:2:0": 2}, SHOWN), OrderCounts(asked=1, placed=1, doubled=1)),
    ],
)
def test_orders_are_counted(outcomes: list[str], shop: ShopReport, counts: OrderCounts) -> None:
    counted, wrong = count_orders(log(*outcomes), shop)
    assert counted == counts
    assert len(wrong) == counts.doubled + counts.lost + counts.untrue + counts.forgotten
