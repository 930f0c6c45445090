"""Quality control: each check a pure function from a table to the rows that fail it, and a reason.

    read = used + Σ rejected by reason

holds for every table, since a check only ever marks rows: none is added and none is taken away.
"""
