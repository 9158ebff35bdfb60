"""From statistics to sampling weights."""
