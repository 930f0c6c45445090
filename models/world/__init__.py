"""The embedded world: a moist spectral primitive-equation model of the atmosphere."""
