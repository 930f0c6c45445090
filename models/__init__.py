"""The science: pure functions and torch modules, without Prefect and without storage."""
