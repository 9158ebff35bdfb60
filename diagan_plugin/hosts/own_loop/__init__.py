"""A training loop of one's own: the façade `Dia`."""
