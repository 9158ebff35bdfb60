"""MIX-GAN and MIX+GAN: several generators."""
