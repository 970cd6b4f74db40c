"""What a schema declares: the bundled declarations, and the parts that a declaration has."""
