"""What is sent to the graph: it may be sent again, as where two transactions waited for each other."""

from __future__ import annotations

from hark.history.projection.sending import LINE, SUM, USER, UserChanges

LINES = {"of": [0, 0], "to": ["tea", "milk"], "key": ["receipt:1:1", "receipt:1:2"]}
SUMS = {"of": [0], "to": ["food"], "currencies": ["EURUSD"], "totals": ["129 5"]}


def test_what_is_sent_again_is_the_same() -> None:
    users = tuple([0 if name != "id" else "ann"] for name in USER)
    bought = tuple(LINES.get(name, [1, 1]) for name in LINE)
    sums = tuple(SUMS.get(name, [1]) for name in SUM)
    changes = UserChanges(users, (None, None), bought, sums, (None,) * len(SUM), (None, None), (None, None))
    sent = changes.parameters()
    assert sent["ids"] == {"products": ["milk", "tea"], "categories": ["food"], "stores": []}
    assert (sent["products"]["to"], sent["categories"]["totals"]) == ([1, 0], [[129, 5]])
    assert changes.parameters() == sent
