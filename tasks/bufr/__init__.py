"""WMO BUFR, decoded with arrays: many messages of the same form at once, and never a crash."""
