"""PacGAN."""
