"""What Open Discussions' own tests describe, and what they do not: docs/reference/open-discussions.md has the table."""
