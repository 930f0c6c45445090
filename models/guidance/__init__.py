"""Guidance: each method maps a denoiser to a denoiser, so that every sampler takes it."""
