"""From weights to the indices of the training samples."""
