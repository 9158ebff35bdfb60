"""The auxiliary discriminator of phase 2 (paper, §4.3)."""
