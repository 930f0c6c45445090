"""Readers: files that the weather services exchange → batches of the observation table.

A reader takes a file and yields batches, each a table and the account of it. It judges nothing:
what cannot be decoded or converted is left out and counted by its reason, all else is kept with the
provider's flag in the column `quality`. Quality control comes after.
"""
