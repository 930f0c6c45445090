"""Input and output at the edge: storage, readers and one Prefect task per verb."""
