"""Malformed trees over the whole language, for `test_bad_input.py`: one value of a good job is put elsewhere.

`JOB` holds a node of every kind and what trees refer to. A row is (name, place in it, value, what the message must
hold); `ABSENT` takes the value out. Fields that take one kind of value get every other kind from `WRONG_TYPES`.
"""

from __future__ import annotations

from typing import Any

Place = tuple[str | int, ...]
ABSENT = object()
NAN, INFINITE = float("nan"), float("inf")


def hold(id: str, *tickers: Any, **more: Any) -> dict[str, Any]:
    return {"id": id, "kind": "position", "positions": list(tickers), **more}


def rsi(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "metric": "RSI", "window": 10, "ticker": "AAPL", "comparator": "lt", "threshold": 30} | more


def two(id: str, **more: Any) -> dict[str, Any]:
    """A node with then and else."""
    return {"id": id, "children": {"then": [hold(f"{id}-then", "AAPL")], "else": [hold(f"{id}-else", "KO")]}, **more}


PRICE = {"metric": "Price", "ticker": "AAPL", "comparator": "gt", "expanded": True}
SORT = {
    "id": "sort", "kind": "function", "metric": "ROC", "window": 20, "rank": "top", "n": 2, "of": "equity",
    "weighting": "inverse", "volWindow": 30, "minCap": 10, "maxCap": 60,
    "children": {"next": [hold("s1", "AAPL"), hold("s2", "MSFT"), hold("s3", "KO")]},
}  # fmt: skip
GATE = two(
    "gate", kind="indicator", weightingThen="defined",
    conditions=[
        rsi("dip", forDays=2),
        rsi("wide", type="or", ticker={"any": "list:tech"}),
        {"id": "up", "type": "and", **PRICE, "rightMetric": "SMA", "rightWindow": 50, "rightTicker": "MSFT"},
        {"id": "own", "type": "or", "metric": "custom:gap", "window": 20, "ticker": "branch:then", "comparator": "gt",
         "threshold": 0.1},
        {"id": "pair", "type": "and", "metric": "RSI", "window": 10, "ticker": {"ratio": ["AAPL", "KO"]},
         "comparator": "gt", "threshold": 50},
        {"id": "winter", "type": "or", "metric": "Date", "dateMonth": 11, "dateDay": 1,
         "dateTo": {"month": 4, "day": 30}},
    ],
    children={"then": [hold("g1", "AAPL", weight=60), hold("g2", "CASH", weight=40)], "else": [hold("g3", "KO")]},
)  # fmt: skip
COUNT = two(
    "count", kind="numbered", weightingElse="capped", maxCapElse=30, cappedFallbackElse="JNJ",
    numbered={"quantifier": "atLeast", "n": 2, "items": [{"id": "i1", "conditions": [rsi("a")]},
                                                         {"id": "i2", "conditions": [rsi("b", ticker="KO")]}]},
)  # fmt: skip
LADDER = {
    "id": "ladder", "kind": "numbered", "weighting": "pro",
    "numbered": {"quantifier": "ladder", "items": [{"id": "i1", "conditions": [rsi("a")]},
                                                   {"id": "i2", "conditions": [rsi("b", ticker="KO")]}]},
    "children": {f"ladder-{k}": [hold(f"l{k}", "AAPL")] for k in range(3)},
}  # fmt: skip
LATCH = two("latch", kind="altExit", entryConditions=[rsi("in")], exitConditions=[rsi("out", comparator="gt")])
SCALE = two(
    "scale", kind="scaling", scaleMetric="StdDev", scaleWindow=20, scaleTicker="branch:else", scaleFrom=0.5, scaleTo=2
)
GROUP = {
    "id": "group", "kind": "basic", "weighting": "pro", "volWindow": 20, "minCap": 5, "maxCap": 50,
    "children": {"next": [hold("b1", "AAPL"), hold("b2", "MSFT"), hold("b3", "KO")]},
}  # fmt: skip
CAPPED = {
    "id": "capped", "kind": "basic", "weighting": "capped", "maxCap": 25, "cappedFallback": "JNJ",
    "children": {"next": [hold("c1", "AAPL"), hold("c2", "list:tech", "CASH", "Empty")]},
}  # fmt: skip
JOB: dict[str, Any] = {
    "data": "sample:us20",
    "tree": {"id": "root", "kind": "basic", "children": {"next": [
        SORT, GATE, COUNT, LADDER, LATCH, SCALE, GROUP, CAPPED, {"id": "k", "kind": "call", "callRefId": "safe"},
    ]}},
    "calls": {"safe": hold("s", "JNJ"), "other": {"id": "o", "kind": "basic", "children": {"next": [
        {"id": "inner", "kind": "call", "callRefId": "safe"}]}}},
    "formulas": {"gap": "close / sma - 1", "range": "(high - low) / close"},
    "lists": {"tech": ["AAPL", "MSFT"]},
}  # fmt: skip
NEXT: Place = ("tree", "children", "next")
(SORT_, GATE_, COUNT_, LADDER_, LATCH_, SCALE_, GROUP_, CAPPED_, CALL_) = ((*NEXT, k) for k in range(9))
DIP, WIDE, UP, OWN, PAIR, WINTER = ((*GATE_, "conditions", k) for k in range(6))


def at(place: Place) -> str:
    """A place as messages write it."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


# ---------------------------------------------------------------- every field with values of other types

INTEGER = (None, "20", 0, 2.5, [20], True)
NUMBER = (None, "0.5", NAN, {}, True, 10**400)
NAME = (None, 7, [], {"name": "x"}, "", "no such one")
OBJECT = (None, "x", 7)
WRONG: tuple[tuple[Place, tuple[Any, ...], str], ...] = (
    ((*SORT_, "metric"), NAME, "unknown indicator"),
    ((*SORT_, "window"), INTEGER, "an integer from 1 to 100,000"),
    ((*SORT_, "rank"), NAME[:5], "allowed: top, bottom"),
    ((*SORT_, "n"), INTEGER, "an integer from 1 to 100,000"),
    ((*SORT_, "of"), NAME, "allowed: allocation, equity, tickers"),
    ((*SORT_, "volWindow"), INTEGER[:4], "an integer from 1 to 100,000"),
    ((*SORT_, "minCap"), (None, "10", -1, 101, NAN), "percent"),
    ((*SORT_, "maxCap"), (None, "60%", 1e300, [60], False), "percent"),
    ((*GATE_, "weightingThen"), NAME, "allowed: equal, defined, inverse, pro, capped"),
    ((*COUNT_, "numbered"), (None, [], "atLeast 2"), "quantifier and items (an object)"),
    ((*COUNT_, "numbered", "quantifier"), NAME, "allowed: any, all, none, exactly, atLeast, atMost, ladder"),
    ((*COUNT_, "numbered", "n"), (None, "2", -1, 1.5, INFINITE), "an integer from 0 to 100,000"),
    ((*COUNT_, "numbered", "items"), (None, {}, [], 2), "a list of at least one item"),
    ((*COUNT_, "numbered", "items", 1), (None, "b", []), "an item with conditions (an object)"),
    ((*COUNT_, "numbered", "items", 0, "id"), (None, 1, "a b"), "an id of letters, digits, '_' and '-'"),
    ((*COUNT_, "numbered", "items", 0, "conditions"), (None, {}, "RSI < 30"), "a list of conditions"),
    ((*COUNT_, "maxCapElse"), (None, -5, "all"), "percent"),
    ((*COUNT_, "cappedFallbackElse"), (None, 5, "A B", ["JNJ"]), "a ticker (letters, digits"),
    ((*LATCH_, "entryConditions"), OBJECT, "a list of conditions"),
    ((*LATCH_, "exitConditions"), OBJECT, "a list of conditions"),
    ((*SCALE_, "scaleMetric"), NAME[1:], "unknown indicator"),
    ((*SCALE_, "scaleWindow"), INTEGER[1:4], "an integer from 1 to 100,000"),
    ((*SCALE_, "scaleTicker"), (None, 4, "", "CASH", ["AAPL"]), "ticker"),
    ((*SCALE_, "scaleFrom"), NUMBER, "a finite number"),
    ((*SCALE_, "scaleTo"), (None, "2", INFINITE), "a finite number"),
    ((*CALL_, "callRefId"), (None, 3, "", "sa fe"), "an id of letters, digits, '_' and '-'"),
    ((*WINTER, "dateMonth"), (None, 0, 13, "November"), "an integer from 1 to 12"),
    ((*WINTER, "dateDay"), (None, 0, 32, 1.5), "an integer from 1 to 31"),
    ((*WINTER, "dateTo"), (7, "30 April", []), '"month": 1..12, "day": 1..31'),
    ((*WINTER, "dateTo", "month"), (None, 13), "an integer from 1 to 12"),
    ((*WINTER, "dateTo", "day"), (None, 0), "an integer from 1 to 31"),
    ((*UP, "rightMetric"), NAME[1:], "unknown indicator"),
    ((*UP, "rightTicker"), (None, 9, "CASH", "A B"), "ticker"),
    ((*DIP, "forDays"), (None, -2, "3", 1e9, True), "an integer from 1 to 10,000"),
    ((*DIP, "comparator"), NAME[:5], "allowed: lt, lte, gt, gte, crossAbove, crossBelow"),
    ((*DIP, "type"), (None, 1, "then", "AND"), "allowed: if, and, or"),
    (("calls",), (None, [], "safe"), "an object of trees by id"),
    (("calls", "safe"), (None, [], "hold JNJ"), "a node (an object)"),
    (("formulas",), (None, [], "close"), "an object of formulas by name"),
    (("formulas", "gap"), (None, 7, "", ["close"]), "a formula of at most 2,000 characters"),
    (("lists",), (None, [], "tech"), "an object of ticker lists by name"),
    (("lists", "tech"), (None, "AAPL", {}), "a list of tickers"),
)  # fmt: skip

Row = tuple[str, Place, Any, tuple[str, ...]]


def wrong_types() -> list[Row]:
    return [
        (f"{at(place)} = {value if value != 10**400 else '10^400'!r}", place, value, (at(place), what))
        for place, values, what in WRONG
        for value in values
    ]


# ---------------------------------------------------------------- what contradicts itself, by node and field

DATE = {"id": "winter", "type": "or", "metric": "Date", "dateMonth": 11, "dateDay": 1}
MANY = {f"ladder-{k}": [] for k in range(4)}
ROWS: list[Row] = [
    # function
    ("a function without metric", (*SORT_, "metric"), ABSENT, ("metric: missing; expected one of",)),
    ("a function without window", (*SORT_, "window"), ABSENT, ("window: missing",)),
    ("a function without rank", (*SORT_, "rank"), ABSENT, ("rank: missing; expected one of top, bottom",)),
    ("a function without n", (*SORT_, "n"), ABSENT, ("n: missing",)),
    ("rank of the original", (*SORT_, "rank"), "Top", ("did you mean 'top'",)),
    ("a function by Date", (*SORT_, "metric"), "Date", ("metric", "'Date'", "a condition")),
    ("a function of bars of an equity", (*SORT_, "metric"), "ATR", ("ATR", "high, low", "closes only")),
    ("a formula of bars of an equity", (*SORT_, "metric"), "custom:range", ("custom:range needs high, low",)),
    ("a function with then", (*SORT_, "children", "then"), [], ("unknown slot 'then'", "allowed: next")),
    ("a function with conditions", (*SORT_, "conditions"), [], ("unknown field 'conditions'",)),
    ("a function with a ticker", (*SORT_, "ticker"), "SPY", ("unknown field 'ticker'",)),
    ("the original's name of n", (*SORT_, "bottom"), 1, ("unknown field 'bottom'",)),
    ("caps too low for those picked", (*SORT_, "maxCap"), 40, ("2 children of at most 40% cannot add up to 100%",)),
    ("caps too high for those picked", (*SORT_, "minCap"), 51, ("2 children of at least 51% are more than 100%",)),
    # weightings
    ("caps too low", (*GROUP_, "maxCap"), 33.3, ("3 children of at most 33.3% cannot add up to 100%",)),
    ("caps too high", (*GROUP_, "minCap"), 33.4, ("3 children of at least 33.4% are more than 100%",)),
    ("caps crossed", (*GROUP_, "minCap"), 60, ("minCap: 3 children of at least 60%",)),
    ("an equal weighting with a cap", (*GROUP_, "weighting"), "equal", ("not used by weighting 'equal'",)),
    ("a defined weighting with a window", (*GROUP_, "weighting"), "defined", ("volWindow: ", "'defined'")),
    ("a volatility weighting with a fallback", (*GROUP_, "cappedFallback"), "JNJ", ("not used by weighting 'pro'",)),
    ("a capped weighting with a least cap", (*CAPPED_, "minCap"), 5, ("not used by weighting 'capped'",)),
    ("a capped weighting with a window", (*CAPPED_, "volWindow"), 20, ("not used by weighting 'capped'",)),
    ("a fallback that is a branch", (*CAPPED_, "cappedFallback"), "branch:then", ("'branch:then' cannot be held",)),
    ("a fallback that is a list", (*CAPPED_, "cappedFallback"), "list:tech", ("cappedFallback", "'list:tech'")),
    ("a weighting of then in a group", (*GROUP_, "weightingThen"), "equal", ("did you mean 'weighting'",)),
    ("a plain weighting in a gate", (*GATE_, "weighting"), "equal", ("unknown field 'weighting'",)),
    ("a weighting of else in a ladder", (*LADDER_, "weightingElse"), "equal", ("weightingElse",)),
    ("a plain weighting in a count", (*COUNT_, "weighting"), "pro", ("weighting",)),
    ("the original's name of a weighting", (*GATE_, "thenWeighting"), "pro", ("did you mean 'weightingThen'",)),
    ("a caps field of the other side", (*COUNT_, "maxCapThen"), 30, ("not used by weightingThen 'equal'",)),
    ("a random weighting", (*GROUP_, "weighting"), "randomly", ("unknown weighting 'randomly'",)),
    ("a weight of one child only", (*GATE_, "children", "then", 1, "weight"), ABSENT, ("then[1].weight: missing",)),
    ("a weight that is text", (*GATE_, "children", "then", 0, "weight"), "60%", ("then[0].weight", "'60%'")),
    ("a weight of NaN", (*GATE_, "children", "then", 0, "weight"), NAN, ("then[0].weight", "nan")),
    # positions
    ("a ratio held", (*CAPPED_, "children", "next", 0, "positions", 0), {"ratio": ["A", "B"]}, ("'ratio'", "held")),
    ("a branch held", (*CAPPED_, "children", "next", 0, "positions", 0), "branch:then", ("'branch:then'", "held")),
    ("any of tickers held", (*CAPPED_, "children", "next", 0, "positions", 0), {"any": ["A"]}, ("{'any'", "held")),
    ("a list within a list held", (*CAPPED_, "children", "next", 0, "positions", 0), ["AAPL"], ("['AAPL']",)),
    ("an unknown list held", (*CAPPED_, "children", "next", 1, "positions", 0), "list:teck",
     ("positions[0]: unknown list 'teck' (did you mean 'tech'?); allowed: tech",)),
    ("an unknown list as all positions", (*CAPPED_, "children", "next", 1, "positions"), "list:x", ("list 'x'",)),
    ("a list without a name held", (*CAPPED_, "children", "next", 1, "positions", 0), "list:", ("unknown list ''",)),
    ("null held", (*CAPPED_, "children", "next", 1, "positions", 1), None, ("positions[1]", "None")),
    ("an empty ticker held", (*CAPPED_, "children", "next", 1, "positions", 1), "", ("positions[1]", "''")),
    ("a ticker with a space held", (*CAPPED_, "children", "next", 1, "positions", 1), " SPY", ("' SPY'",)),
    ("an emoji held", (*CAPPED_, "children", "next", 1, "positions", 1), "🚀", ("positions[1]", "🚀")),
    ("a position with a weighting", (*CAPPED_, "children", "next", 0, "weighting"), "equal", ("field 'weighting'",)),
    ("the original's text of positions", (*CAPPED_, "children", "next", 0, "positions"), "AAPL, MSFT", ("list of t",)),
    # conditions
    ("a condition without ticker", (*DIP, "ticker"), ABSENT, ("ticker: missing",)),
    ("a condition without id", (*DIP, "id"), ABSENT, ("conditions[0].id: missing",)),
    ("a condition that is null", DIP, None, ("conditions[0]: expected a condition", "None")),
    ("a list in a condition list", DIP, [rsi("a"), rsi("b")], ("conditions[0]: expected a condition",)),
    ("conditions as an object", (*GATE_, "conditions"), {"and": [rsi("a")]}, ("conditions: expected a list",)),
    ("a metric of the wrong case", (*DIP, "metric"), "rsi", ("did you mean 'RSI'",)),
    ("a metric of Python's libraries", (*DIP, "metric"), "MACDEXT", ("unknown indicator 'MACDEXT'",)),
    ("the original's volume metric", (*DIP, "metric"), "Volume", ("unknown indicator 'Volume'",)),
    ("an unknown formula", (*OWN, "metric"), "custom:gsp", ("unknown formula 'gsp' (did you mean 'gap'?)", "range")),
    ("a formula without a name", (*OWN, "metric"), "custom:", ("'custom:'",)),
    ("a formula of a bad name", (*OWN, "metric"), "custom:a b", ("'custom:a b'",)),
    ("a formula in place", (*OWN, "metric"), "close / sma - 1", ("'close / sma - 1'",)),
    ("a formula of bars of a branch", (*OWN, "metric"), "custom:range", ("custom:range needs high, low",)),
    ("an indicator of volume of a branch", (*OWN, "metric"), "MFI", ("needs high, low, volume",)),
    ("a formula without its window", (*OWN, "window"), ABSENT, ("window: missing",)),
    ("an unknown branch", (*OWN, "ticker"), "branch:left", ("unknown reference 'branch:left'", "branch:then")),
    ("a branch of a node", (*OWN, "ticker"), "branch:gate", ("unknown reference 'branch:gate'",)),
    ("a branch in capitals", (*OWN, "ticker"), "branch:Then", ("did you mean 'branch:then'",)),
    ("a branch on the right in a ladder", (*LADDER_, "numbered", "items", 0, "conditions", 0),
     rsi("a") | {"expanded": True, "rightTicker": "branch:else"}, ("threshold",)),
    ("a branch in a ladder", (*LADDER_, "numbered", "items", 0, "conditions", 0, "ticker"), "branch:then",
     ("a ladder has neither then nor else",)),
    ("a list as a ticker", (*DIP, "ticker"), "list:tech", ("'list:tech'", "any")),
    ("tickers as a list", (*DIP, "ticker"), ["AAPL", "MSFT"], ("['AAPL', 'MSFT']", "any")),
    ("both a threshold and a right side", (*UP, "threshold"), 3, ("threshold", "rightMetric, rightWindow")),
    ("a right side that is a number", (*UP, "rightMetric"), 30, ("rightMetric", "30")),
    ("a right window of another metric", (*UP, "rightWindow"), ABSENT, ("rightWindow: missing",)),
    ("any on the right side", (*UP, "rightTicker"), {"any": ["AAPL"]}, ("rightTicker", "{'any': ['AAPL']}")),
    ("the right side of a date", (*WINTER, "rightMetric"), "SMA", ("unknown field 'rightMetric'", "dateTo")),
    ("a comparator in words", (*DIP, "comparator"), "less than", ("'less than'",)),
    ("a cross that lasts", (*DIP, "comparator"), "crossBelow", ("forDays: 2 with crossBelow", "allowed: 1")),
    ("an id of two conditions in two items", (*COUNT_, "numbered", "items", 1, "conditions", 0, "id"), "a",
     ("condition id 'a' is used 2 times",)),
    # any, all, ratio
    ("any of no ticker", (*WIDE, "ticker"), {"any": []}, ("ticker.any: expected at least one ticker, got none",)),
    ("all of an unknown list", (*WIDE, "ticker"), {"all": "list:teck"}, ("did you mean 'tech'",)),
    ("any of text", (*WIDE, "ticker"), {"any": "AAPL"}, ("ticker.any", "'AAPL'")),
    ("any of numbers", (*WIDE, "ticker"), {"any": ["AAPL", 5]}, ("ticker.any[1]", "got 5")),
    ("any of cash", (*WIDE, "ticker"), {"any": ["CASH"]}, ("ticker.any[0]", "'CASH'")),
    ("any of a branch", (*WIDE, "ticker"), {"any": ["branch:then"]}, ("ticker.any[0]", "'branch:then'")),
    ("any of a ratio", (*WIDE, "ticker"), {"any": [{"ratio": ["A", "B"]}]}, ("ticker.any[0]", "'ratio'")),
    ("any and all", (*WIDE, "ticker"), {"any": ["AAPL"], "all": ["KO"]}, ("ticker", "{'any'")),
    ("none of tickers", (*WIDE, "ticker"), {"none": ["AAPL"]}, ("{'none'", '{"any": [...]}')),
    ("an empty object as a ticker", (*WIDE, "ticker"), {}, ("ticker", "{}")),
    ("a ratio of three", (*PAIR, "ticker"), {"ratio": ["A", "B", "C"]}, ("expected two tickers, got 3",)),
    ("a ratio of one", (*PAIR, "ticker"), {"ratio": ["A"]}, ("expected two tickers, got 1",)),
    ("a ratio of text", (*PAIR, "ticker"), {"ratio": "XLY/XLP"}, ("ticker.ratio", "'XLY/XLP'")),
    ("a ratio of a ratio", (*PAIR, "ticker"), {"ratio": [{"ratio": ["A", "B"]}, "C"]}, ("ticker.ratio[0]",)),
    ("a ratio of a branch", (*PAIR, "ticker"), {"ratio": ["branch:then", "KO"]}, ("ticker.ratio[0]",)),
    ("a ratio with a number", (*PAIR, "ticker"), {"ratio": ["AAPL", 2]}, ("ticker.ratio[1]", "got 2")),
    ("an indicator of bars of a ratio", (*PAIR, "metric"), "ADX", ("needs high, low", "a ratio")),
    ("an indicator of volume of a ratio", (*PAIR, "metric"), "OBV ROC", ("needs volume", "a ratio")),
    ("a ratio by a bad name", (*PAIR, "ticker"), {"ratios": ["A", "B"]}, ("{'ratios'", '{"ratio": ["XLY", "XLP"]}')),
    ("any of tickers in a scaling", (*SCALE_, "scaleTicker"), {"any": ["AAPL"]}, ("scaleTicker", "{'any'")),
    # dates
    ("31 November", (*WINTER, "dateDay"), 31, ("dateDay: month 11 has no day 31; allowed: 1 to 30",)),
    ("30 February", WINTER, DATE | {"dateMonth": 2, "dateDay": 30}, ("month 2 has no day 30; allowed: 1 to 29",)),
    ("to 31 April", (*WINTER, "dateTo", "day"), 31, ("dateTo.day: month 4 has no day 31",)),
    ("a date without a month", (*WINTER, "dateMonth"), ABSENT, ("dateMonth: missing",)),
    ("a date without a day", (*WINTER, "dateDay"), ABSENT, ("dateDay: missing",)),
    ("a date with a ticker", (*WINTER, "ticker"), "SPY", ("unknown field 'ticker'", "dateMonth, dateDay, dateTo")),
    ("a date with a window", (*WINTER, "window"), 1, ("unknown field 'window'",)),
    ("a date with a comparator", (*WINTER, "comparator"), "gt", ("unknown field 'comparator'",)),
    ("a date with forDays", (*WINTER, "forDays"), 2, ("unknown field 'forDays'",)),
    ("a date with a year", (*WINTER, "dateTo", "year"), 2020, ("dateTo.year", "allowed: month, day")),
    ("the end of a date without a day", (*WINTER, "dateTo"), {"month": 4}, ("dateTo.day: missing",)),
    ("a date on the right", (*UP, "rightMetric"), "Date", ("rightMetric", "'Date'", "a condition")),
    ("a date as a scale", (*SCALE_, "scaleMetric"), "Date", ("scaleMetric", "'Date'", "a condition")),
    # numbered
    ("a count without numbered", (*COUNT_, "numbered"), ABSENT, ("numbered: missing",)),
    ("a count without a quantifier", (*COUNT_, "numbered", "quantifier"), ABSENT, ("quantifier: missing",)),
    ("a quantifier in capitals", (*COUNT_, "numbered", "quantifier"), "AtLeast", ("did you mean 'atLeast'",)),
    ("a ladder in capitals", (*COUNT_, "numbered", "quantifier"), "Ladder", ("did you mean 'ladder'",)),
    ("a count without n", (*COUNT_, "numbered", "n"), ABSENT, ("numbered.n: missing",)),
    ("any with n", (*COUNT_, "numbered", "quantifier"), "any", ("numbered.n: not used by quantifier 'any'",)),
    ("a ladder with n", (*LADDER_, "numbered", "n"), 2, ("numbered.n: not used by quantifier 'ladder'",)),
    ("a count without items", (*COUNT_, "numbered", "items"), ABSENT, ("items: missing",)),
    ("a count with conditions", (*COUNT_, "conditions"), [], ("unknown field 'conditions'",)),
    ("an item with a title", (*COUNT_, "numbered", "items", 0, "title"), "x", ("items[0].title", "id, conditions")),
    ("an item without conditions", (*COUNT_, "numbered", "items", 0, "conditions"), ABSENT, ("conditions: missing",)),
    ("an item without id", (*COUNT_, "numbered", "items", 1, "id"), ABSENT, ("items[1].id: missing",)),
    ("an item id twice", (*COUNT_, "numbered", "items", 1, "id"), "i1", ("item id 'i1' is used 2 times",)),
    ("a mistake in the second item", (*COUNT_, "numbered", "items", 1, "conditions", 0, "window"), 0,
     ("numbered.items[1].conditions[0].window",)),
    ("a rung too many", (*LADDER_, "children"), MANY, ("children.ladder-3: unknown slot 'ladder-3'", "ladder-2")),
    ("a ladder with then", (*LADDER_, "children", "then"), [], ("unknown slot 'then'", "ladder-0, ladder-1")),
    ("a count with rungs", (*COUNT_, "children"), MANY, ("unknown slot 'ladder-0'", "allowed: then, else")),
    ("a rung of another spelling", (*LADDER_, "children", "ladder_1"), [], ("did you mean 'ladder-1'",)),
    # latches, scalings, calls
    ("a latch without entry", (*LATCH_, "entryConditions"), ABSENT, ("entryConditions: missing",)),
    ("a latch without exit", (*LATCH_, "exitConditions"), ABSENT, ("exitConditions: missing",)),
    ("a latch with conditions", (*LATCH_, "conditions"), [], ("unknown field 'conditions'", "entryConditions")),
    ("an id of entry and exit", (*LATCH_, "exitConditions", 0, "id"), "in", ("condition id 'in' is used 2 times",)),
    ("a mistake in an exit", (*LATCH_, "exitConditions", 0, "comparator"), ">", ("exitConditions[0].comparator",)),
    ("a latch with next", (*LATCH_, "children", "next"), [], ("unknown slot 'next'", "allowed: then, else")),
    ("a scaling of no width", (*SCALE_, "scaleTo"), 0.5, ("scaleTo: 0.5 equals scaleFrom",)),
    ("a scaling without its end", (*SCALE_, "scaleTo"), ABSENT, ("scaleTo: missing",)),
    ("a scaling without its ticker", (*SCALE_, "scaleTicker"), ABSENT, ("scaleTicker: missing",)),
    ("a scaling without its window", (*SCALE_, "scaleWindow"), ABSENT, ("scaleWindow: missing",)),
    ("a scaling by bars of a branch", (*SCALE_, "scaleMetric"), "Williams %R", ("needs high, low", "scaleMetric")),
    ("a scaling with a threshold", (*SCALE_, "threshold"), 5, ("unknown field 'threshold'",)),
    ("a scaling with conditions", (*SCALE_, "conditions"), [], ("unknown field 'conditions'",)),
    ("a call without a name", (*CALL_, "callRefId"), ABSENT, ("callRefId: missing",)),
    ("an unknown call", (*CALL_, "callRefId"), "sage", ("unknown call 'sage' (did you mean 'safe'?)", "safe, other")),
    ("a call with children", (*CALL_, "children"), {}, ("unknown field 'children'",)),
    ("a call with positions", (*CALL_, "positions"), ["KO"], ("unknown field 'positions'", "callRefId")),
    ("the original's name of a call", (*CALL_, "callChainId"), "safe", ("unknown field 'callChainId'",)),
    ("a call of itself", ("calls", "safe"), {"id": "x", "kind": "call", "callRefId": "safe"}, ("safe -> safe",)),
    ("calls in a circle", ("calls", "safe"), {"id": "x", "kind": "call", "callRefId": "other"}, ("calls itself",)),
    ("a call from a definition to nowhere", ("calls", "other", "children", "next", 0, "callRefId"), "x",
     ("calls.other.children.next[0].callRefId: unknown call 'x'",)),
    ("a definition of a bad name", ("calls", "a b"), hold("z", "KO"), ("'a b'", "letters, digits")),
    ("a mistake in a definition", ("calls", "safe", "positions", 0), 5, ("calls.safe.positions[0]", "got 5")),
    ("a definition as an axis", (*CALL_, "callRefId"), "$x", ("callRefId", "'$x'")),
    # formulas and lists
    ("a formula cut short", ("formulas", "gap"), "close /", ("character 8: expected a value, got the end",)),
    ("a formula with two operators", ("formulas", "gap"), "close * / sma", ("character 9", "'/'")),
    ("a formula with two values", ("formulas", "gap"), "close sma", ("character 7: expected an operator",)),
    ("a formula with an open bracket", ("formulas", "gap"), "(close - sma", ("expected ')', got the end",)),
    ("a formula with a closed bracket", ("formulas", "gap"), "close)", ("character 6",)),
    ("a formula with an unknown name", ("formulas", "gap"), "close / smaa", ("unknown name 'smaa'", "'sma'")),
    ("a formula with an unknown function", ("formulas", "gap"), "median(close, 5)", ("unknown function 'median'",)),
    ("a formula with another ticker", ("formulas", "gap"), "close / SPY", ("unknown name 'spy'",)),
    ("a formula with a power sign", ("formulas", "gap"), "close ^ 2", ("character 7", "'^'")),
    ("a formula with two stars", ("formulas", "gap"), "close ** 2", ("character 8",)),
    ("a formula with a comparison", ("formulas", "gap"), "close > sma", ("character 7: cannot read '>'",)),
    ("a formula with text", ("formulas", "gap"), "'close'", ("character 1: cannot read",)),
    ("a formula without a price", ("formulas", "gap"), "1 + 2", ("'1 + 2' reads no price",)),
    ("a formula that calls nothing", ("formulas", "gap"), "sma()", ("character 5",)),
    ("a rolling function without bars", ("formulas", "gap"), "sma(close)", ("expected ',', got ')'",)),
    ("a rolling function of no bars", ("formulas", "gap"), "sma(close, 0)", ("bars from 1 to 100,000, got '0'",)),
    ("a rolling function of a fraction", ("formulas", "gap"), "sma(close, 2.5)", ("bars", "'2.5'")),
    ("a rolling function of a name", ("formulas", "gap"), "sma(close, window)", ("bars", "'window'")),
    ("a rolling function of less", ("formulas", "gap"), "ago(close, -1)", ("bars", "'-'")),
    ("a rolling function of too much", ("formulas", "gap"), "ema(close, 1e9)", ("bars", "'1e9'")),
    ("a function of one with two", ("formulas", "gap"), "abs(close, sma)", ("expected ')', got ','",)),
    ("a function of two with one", ("formulas", "gap"), "max(close)", ("expected ',', got ')'",)),
    ("a function without brackets", ("formulas", "gap"), "abs close", ("abs is a function; expected abs(…)",)),
    ("a huge number in a formula", ("formulas", "gap"), "close * 1e999", ("1e999", "finite")),
    ("a formula that is deep", ("formulas", "gap"), "(" * 200 + "close" + ")" * 200, ("nested deeper than 100",)),
    ("a formula that is long", ("formulas", "gap"), "close + " * 400 + "1", ("at most 2,000 characters",)),
    ("a formula within a formula", ("formulas", "gap"), "custom:range", ("character 7: cannot read ':'",)),
    ("a formula within a formula by name", ("formulas", "gap"), "range * 2", ("unknown name 'range'",)),
    ("a formula of a bad key", ("formulas", "a b"), "close", ("formulas.a b", "letters, digits")),
    ("a list of a bad key", ("lists", "a b"), ["KO"], ("lists.a b", "letters, digits")),
    ("a list of numbers", ("lists", "tech"), ["AAPL", 5], ("lists.tech[1]", "got 5")),
    ("a list with cash", ("lists", "tech"), ["AAPL", "CASH"], ("lists.tech[1]", "'CASH'")),
    ("a list with a list", ("lists", "tech"), ["list:other"], ("lists.tech[0]", "'other'")),
    ("a list with a branch", ("lists", "tech"), ["branch:then"], ("lists.tech[0]", "'branch:then'")),
    ("a list of nothing", ("lists", "tech"), [], ("at least one ticker, got none",)),
    # the tree as a whole
    ("a rolling node", ("tree", "kind"), "rolling", ("unknown kind 'rolling'", "scaling")),
    ("a node of the original's title", (*GATE_, "kind"), "Indicator", ("did you mean 'indicator'",)),
    ("a child that is text", (*NEXT, 0), "AAPL", ("next[0]: expected a node (an object), got 'AAPL'",)),
    ("a child that is a list", (*NEXT, 0), [hold("x", "KO")], ("next[0]: expected a node",)),
    ("a slot that is null", (*GATE_, "children", "then"), None, ("children.then: expected a list of nodes, got None",)),
    ("a slot that is a node", (*GATE_, "children", "then"), hold("x", "KO"), ("children.then: expected a list",)),
    ("children that are null", (*GATE_, "children"), None, ("children: expected an object of slots, got None",)),
    ("an id of another node", (*GROUP_, "id"), "gate", ("id 'gate' is used 2 times, first at tree.children.next[1]",)),
    ("an id of a called node", (*GROUP_, "id"), "k--s", ("id 'k--s' is used 2 times once its calls are in place",)),
    ("an id in Greek", (*GROUP_, "id"), "ομάδα", ("ομάδα",)),
    ("an id of spaces", (*GROUP_, "id"), "  ", ("'  '",)),
    ("an id of 10,000 letters and a dot", (*GROUP_, "id"), "x" * 10_000 + ".", ("'xxx",)),
    ("a field that nobody knows", (*GROUP_, "rebalanceFreq"), "weekly", ("unknown field 'rebalanceFreq'",)),
    ("a field of no name", (*GROUP_, ""), 1, ("unknown field ''",)),
    ("a variable condition", (*NEXT, 0), {"if": "RSI"}, ("kind: missing",)),
    ("a symphony of Composer", ("tree",), {"step": "root", "children": []}, ("tree.kind: missing",)),
    ("a tree within a tree", ("tree",), {"tree": hold("x", "KO")}, ("tree.kind: missing",)),
]  # fmt: skip


def deep(levels: int) -> dict[str, Any]:
    tree = hold("leaf", "KO")
    for k in range(levels):
        tree = {"id": f"n{k}", "kind": "basic", "children": {"next": [tree]}}
    return tree


DEEP: list[Row] = [
    ("a tree of 1,200 levels", ("tree",), deep(1200), ("nested deeper than 1,000 nodes",)),
    ("a definition of 1,200 levels", ("calls", "safe"), deep(1200), ("calls.safe", "nested deeper than 1,000 nodes")),
]
BAD_TREES = [*wrong_types(), *ROWS, *DEEP]
