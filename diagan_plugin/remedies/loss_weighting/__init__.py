"""Loss weighting."""
