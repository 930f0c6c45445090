"""Training of the components: data from trajectories, losses, one loop. No files, no Prefect."""
