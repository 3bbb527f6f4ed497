"""Whether a Cypher query can be a feed: what can be seen of it without a graph."""

from __future__ import annotations

import re

COLUMNS = ("recipient_id", "key", "rank", "at", "actor", "about", "payload")
"""What a Cypher feed gives, by name."""

_TOKEN = re.compile(
    r"""
      (?P<blank> \s+ | //[^\n]* | /\*.*?\*/ )
    | (?P<text>  '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" )
    | (?P<name>  `(?:[^`]|``)*` )
    | (?P<param> \$\w+ )
    | (?P<word>  [^\W\d]\w* )
    | (?P<sign>  . )
    """,
    re.VERBOSE | re.DOTALL,
)
_WRITES = frozenset({"create", "merge", "delete", "detach", "set", "remove", "foreach", "load", "drop"})


def cypher_faults(cypher: str) -> list[str]:
    """What keeps a query from being a feed; empty: nothing that shows without a graph.

    It must be one statement that reads, asks for `$due` and nothing else, and ends in a `RETURN` of the columns.
    """
    said = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(cypher) if match.lastgroup != "blank"]
    if not said:
        return ["has no query in it; write UNWIND $due AS due MATCH … RETURN …"]
    return [*_faults_of_what_is_asked(said), *_faults_of_words(said)]


def _faults_of_what_is_asked(said: list[tuple[str, str]]) -> list[str]:
    given = {text for kind, text in said if kind == "param"}
    faults = [f"{text} is a parameter that a feed is not given; it is given $due" for text in sorted(given - {"$due"})]
    if "$due" not in given:
        faults.append("does not read $due, so it cannot know for whom; begin with UNWIND $due AS due")
    if ("sign", ";") in said:
        faults.append("has a semicolon; it is one statement, so leave the semicolon out")
    if any(kind == "sign" and text in "'\"`" for kind, text in said):
        faults.append("a quote is opened and never closed")
    return faults


def _faults_of_words(said: list[tuple[str, str]]) -> list[str]:
    before = [("", ""), *said]
    # After a dot or colon a word is a property, label or type, whatever it is.
    words = [
        text.lower()
        for (_, last), (kind, text) in zip(before, said, strict=False)
        if kind == "word" and last not in (".", ":")
    ]
    faults = [f"says {word.upper()}, and a feed only reads" for word in dict.fromkeys(words) if word in _WRITES]
    if "return" not in words:
        return [*faults, f"returns nothing; end with RETURN … of {', '.join(COLUMNS)}"]
    missing = [column for column in ("recipient_id", "key", "at") if column not in [text for _, text in said]]
    return [*faults, *(f"returns no {column}; name it: … AS {column}" for column in missing)]
