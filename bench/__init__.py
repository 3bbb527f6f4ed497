"""Measurements: one script a question, each beside its limit and beside what one would use instead, in the same run."""
