"""How hidden things are revealed: pure functions of a predictor."""
