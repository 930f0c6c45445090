"""Observations: their table, where they come from, and the operator from states to them."""
