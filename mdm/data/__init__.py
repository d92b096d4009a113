"""What goes in: builders, pipelines, tokenizers, rendering. NumPy only."""
