"""A static background-error covariance as a chain of control-variable transforms."""
