"""Dia-GAN in one run: when each stage acts, and what connects them."""
