"""Where to hide: a key (and scores) to a boolean mask, in pure jax.numpy."""
