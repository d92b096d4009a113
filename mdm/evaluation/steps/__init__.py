"""How fast a training step is, beside what it must cost and beside PyTorch."""
