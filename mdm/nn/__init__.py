"""Flax Linen blocks and backbones."""
