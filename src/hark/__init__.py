"""Hark: events become the right messages, each sent at most once.

publish ─▶ event ─▶ audience ─▶ preferences ─▶ batching ─▶ rendering ─▶ delivery ─▶ channel

1 events        what happened, said in the product's own transaction
2 audience      who asked to hear of it
3 preferences   may we tell them, how and how often
4 batching      together with what, due when
5 rendering     in which words
6 delivery      sent at most once, and how it went
7 channels      the ways out: SMTP, a provider, the inbox
"""

from __future__ import annotations

from hark.errors import BadInput, HarkError, KeyReused, UnknownReason, Unreachable
from hark.events import apublish, publish

__all__ = ["BadInput", "HarkError", "KeyReused", "UnknownReason", "Unreachable", "apublish", "publish"]
