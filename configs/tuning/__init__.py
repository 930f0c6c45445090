"""Searches for the settings of each method: the space, and what was found."""
