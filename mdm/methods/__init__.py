"""What is learned: one paper, one file, in families."""
