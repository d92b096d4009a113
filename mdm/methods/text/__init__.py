"""Language models that are no diffusion: what masked ones are measured against."""
