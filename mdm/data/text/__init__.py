"""Text as tokens: tokenizers, corpora, prompts with answers. NumPy only."""
