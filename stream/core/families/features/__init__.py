"""Features: who uses which part of a product, and how well the product is adopted."""
