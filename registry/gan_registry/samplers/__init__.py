"""Which training sample is drawn when (catalog `samplers`)."""
