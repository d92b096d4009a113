"""How fast attention is, beside what it must cost and beside other libraries."""
