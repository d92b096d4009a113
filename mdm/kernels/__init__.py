"""How masked attention runs fast: one primitive, a mask of O(n), several backends.

Pure functions of arrays: jax and numpy only. Nothing else touches Pallas.
"""
