"""A GAN that is trained already, diagnosed from the discriminators that it left behind."""
