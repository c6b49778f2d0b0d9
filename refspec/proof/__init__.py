"""Exact checks: the production loop enumerated over fractions, and closed forms to hold beside it."""
