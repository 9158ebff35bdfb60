"""What every adapter shares; names no method."""
