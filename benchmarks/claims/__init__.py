"""What the papers claim, measured at a size that a CPU can do."""
