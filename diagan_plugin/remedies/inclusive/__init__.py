"""Inclusive GAN."""
