"""The one training loop: step, state, sharding, checkpoints, optimiser."""
