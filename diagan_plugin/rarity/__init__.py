"""A closer look at single samples: rare or broken, and the groups that no label names."""
