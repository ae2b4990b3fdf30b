"""Which photos a batch is made of: uniform triplets and pairs, semi-hard mining."""
