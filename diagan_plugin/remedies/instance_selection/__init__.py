"""Instance selection."""
