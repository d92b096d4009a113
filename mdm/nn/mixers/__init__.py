"""Causal token mixers of one signature: what a decoder block mixes tokens with."""
