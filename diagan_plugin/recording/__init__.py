"""The log-density ratio of every training sample: how it is taken and kept."""
