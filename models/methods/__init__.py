"""Assimilation methods: one method, one paper, one file, all behind the same protocol."""
