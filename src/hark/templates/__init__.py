"""The words of messages: the sandbox that fills a reason's templates, and the frames that stand around them."""

VARIABLES = frozenset(
    ("about", "actor", "at", "count", "event_id", "items", "key", "payload", "reason", "recipient", "title", "when")
)
"""What a template may name; docs/how-to/templates.md says what each is."""
