"""Parameterized physics of the embedded world."""
