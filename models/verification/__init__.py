"""Verification: scores of states and of observations, as rows of one long table."""
