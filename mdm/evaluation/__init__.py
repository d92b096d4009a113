"""How good it is: metrics, and claims of A against B with seeds."""
