"""Masked diffusion: readers of scene text and language models."""
