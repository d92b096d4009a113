"""Small things that tests train on."""
